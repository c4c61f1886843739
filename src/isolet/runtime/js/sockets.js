// Events of a WebSocket come without the call that they belong to, so what listeners print would be nobody's. Each is
// bound to the call that added it, and what it throws is printed: nobody else is there to hear of it.

import { AsyncLocalStorage } from "node:async_hooks";
import { emit } from "./console.js";

const { addEventListener, removeEventListener } = EventTarget.prototype;

// Socket to listener to what was added in its place: a listener may serve many sockets.
const added = new WeakMap();

function hear(socket, listener, event) {
  try {
    const heard = typeof listener === "function" ? listener.call(socket, event) : listener.handleEvent(event);
    if (heard instanceof Promise) heard.catch(print);
  } catch (error) {
    print(error);
    throw error;
  }
}

function print(error) {
  emit("error", ["WebSocket:", error]);
}

function bound(socket, listener) {
  const known = added.get(socket) ?? new Map();
  added.set(socket, known);
  if (!known.has(listener)) {
    const run = AsyncLocalStorage.snapshot();
    known.set(listener, (event) => run(hear, socket, listener, event));
  }
  return known.get(listener);
}

Object.defineProperties(WebSocket.prototype, {
  addEventListener: {
    value(type, listener, options) {
      return addEventListener.call(this, type, listener ? bound(this, listener) : listener, options);
    },
    configurable: true,
    writable: true,
  },
  removeEventListener: {
    value(type, listener, options) {
      return removeEventListener.call(this, type, added.get(this)?.get(listener) ?? listener, options);
    },
    configurable: true,
    writable: true,
  },
});

// The runtime looks for these properties when there is an event.
for (const type of ["open", "message", "close", "error"]) {
  const handlers = new WeakMap();
  Object.defineProperty(WebSocket.prototype, `on${type}`, {
    get() { return handlers.get(this) ?? null; },
    set(handler) {
      if (typeof handler === "function") handlers.set(this, bound(this, handler));
      else handlers.delete(this);
    },
    configurable: true,
    enumerable: true,
  });
}
