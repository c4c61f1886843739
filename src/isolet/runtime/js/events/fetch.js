// A call over HTTP: the handler's Response is the reply.

import { calls, Response } from "../console.js";
import { contextOf } from "../context.js";
import { execution } from "../execution.js";
import { failure, noHandler } from "../failure.js";
import { fetchHandler } from "../handlers.js";

const handler = fetchHandler();

function describe(value) {
  if (value === null || typeof value !== "object") return String(value);
  return value.constructor?.name ? `an object of ${value.constructor.name}` : "an object";
}

async function run(request, env, ctx, call, store) {
  try {
    const control = store.control = execution(ctx);
    const reply = await handler(request, contextOf(env, control, call, store.id), control);
    if (!(reply instanceof Response)) {
      throw new TypeError(`the handler must return a Response, it returned ${describe(reply)}`);
    }
    if (reply.bodyUsed) {
      throw new TypeError("the handler returned a Response whose body was read before: return a new one, or a `clone()`");
    }
    if (reply.type === "error") {
      throw new TypeError("the handler returned `Response.error()`, which is no reply");
    }
    if (reply.webSocket && request.headers.get("upgrade") !== "websocket") {
      throw new TypeError("the handler returned a WebSocket, the request asked for none: it has no `Upgrade: websocket`");
    }
    return reply;
  } catch (error) {
    return failure(error, undefined, request.method);
  }
}

function fetch(call, request, env, ctx) {
  const store = { id: call.id, lines: 0, ctx, control: undefined };
  return calls.run(store, run, request, env, ctx, call.context, store);
}

export default handler === undefined ? noHandler : fetch;
