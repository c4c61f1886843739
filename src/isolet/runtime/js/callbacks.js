// Some callbacks are run by the runtime outside of the call that gave them: those of streams and of signals. They are
// brought back into it here, so that what they print is of their call.

import { AsyncLocalStorage } from "node:async_hooks";

import { calls } from "./console.js";

const { apply, construct } = Reflect;
const { isArray } = Array;
const { asyncIterator, iterator } = Symbol;
// Bound, since a function may replace the method.
const snapshot = AsyncLocalStorage.snapshot.bind(AsyncLocalStorage);

const SOURCE = ["start", "pull", "cancel", "type", "autoAllocateChunkSize", "expectedLength"];
const TRANSFORMER = ["start", "transform", "flush", "cancel", "readableType", "writableType", "expectedLength"];

function inCall() {
  return calls.getStore() !== undefined;
}

/** The members of `source` that the runtime reads, its functions within the call that runs now. */
function bound(source, names) {
  if (source === null || typeof source !== "object" || !inCall()) return source;
  const keep = snapshot();
  const members = {};
  for (const name of names) {
    const value = source[name];
    if (value === undefined) continue;
    members[name] = typeof value === "function" ? (...values) => keep(apply, value, source, values) : value;
  }
  return members;
}

function patch(name, names) {
  const native = globalThis[name];
  const patched = new Proxy(native, {
    construct(target, values, newTarget) {
      if (values.length > 0) values = [bound(values[0], names), ...values.slice(1)];
      return construct(target, values, newTarget);
    },
  });
  globalThis[name] = patched;
  Object.defineProperty(native.prototype, "constructor", { value: patched, writable: true, configurable: true });
  return native;
}

const Readable = patch("ReadableStream", SOURCE);
patch("TransformStream", TRANSFORMER);

const from = Readable.from;
Object.defineProperty(Readable, "from", {
  value: { from(iterable) { return apply(from, Readable, [boundIterable(iterable)]); } }.from,
  writable: true,
  configurable: true,
});

function boundIterable(iterable) {
  const isPlain = iterable === null || typeof iterable !== "object" || isArray(iterable) || iterable instanceof Readable;
  if (isPlain || !inCall()) return iterable;
  const kind = typeof iterable[asyncIterator] === "function" ? asyncIterator : iterator;
  if (typeof iterable[kind] !== "function") return iterable;
  const keep = snapshot();
  return {
    [kind]() {
      const parts = iterable[kind]();
      const made = { next: (...values) => keep(apply, parts.next, parts, values) };
      if (typeof parts.return === "function") made.return = (...values) => keep(apply, parts.return, parts, values);
      return made;
    },
  };
}

// By signal, what each listener was bound to: it can be removed.
const listeners = new WeakMap();
const { addEventListener: add, removeEventListener: remove } = AbortSignal.prototype;

function boundListener(signal, listener) {
  const isOne = (typeof listener === "object" && listener !== null) || typeof listener === "function";
  if (!isOne || !inCall()) return listener;
  let known = listeners.get(signal);
  if (known === undefined) listeners.set(signal, (known = new WeakMap()));
  let made = known.get(listener);
  if (made === undefined) {
    const keep = snapshot();
    made = (event) => {
      if (typeof listener === "function") return keep(apply, listener, signal, [event]);
      return keep(apply, listener.handleEvent, listener, [event]);
    };
    known.set(listener, made);
  }
  return made;
}

for (const [name, value] of Object.entries({
  addEventListener(type, listener, ...rest) {
    return apply(add, this, [type, boundListener(this, listener), ...rest]);
  },
  removeEventListener(type, listener, ...rest) {
    return apply(remove, this, [type, listeners.get(this)?.get(listener) ?? listener, ...rest]);
  },
})) {
  Object.defineProperty(AbortSignal.prototype, name, { value, writable: true, configurable: true });
}
