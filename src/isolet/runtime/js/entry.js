// The main module of every instance. It finds the function's handler, calls it, and turns what goes wrong into a reply
// that the host can tell from the function's own. The host describes each call in `request.cf`.

import { WorkerEntrypoint } from "cloudflare:workers";

import { calls, collectGarbage, emit, Response, stringify } from "./console.js";
import { contextOf } from "./context.js";
import { headOf, isError, thrownStack, thrownText } from "./errors.js";
import "./sockets.js";
import * as module from "../function.js";

const MAX_CHARS = 4_096;

function isClass(value) {
  return typeof value === "function" && /^class\b/.test(Function.prototype.toString.call(value));
}

/** One object of the class for each call, as the runtime makes them. */
function entrypoint(main) {
  if (!(main.prototype instanceof WorkerEntrypoint) || typeof main.prototype.fetch !== "function") {
    throw new TypeError(
      "Function must export a handler function: a default class must extend `WorkerEntrypoint` and have `fetch`",
    );
  }
  return (request, env, control) => {
    // The runtime takes no context but its own; `waitUntil` is to be ours.
    const called = new main(calls.getStore().ctx, env);
    called.ctx = control;
    return called.fetch(request);
  };
}

function findHandler() {
  const main = module.default;
  if (isClass(main)) return entrypoint(main);
  if (typeof main === "function") return main;
  if (main !== null && typeof main === "object" && typeof main.fetch === "function") {
    return (request, env, ctx) => main.fetch(request, env, ctx);
  }
  if (typeof module.handler === "function") return module.handler;
  throw new TypeError(
    "Function must export a handler function: `async function handler(request, env)`, a default function, "
      + "or a default object with `fetch`",
  );
}

const handler = findHandler();

// Promises given to waitUntil that have not settled: the host lets an instance finish them before it stops.
let waiting = 0;

function execution(ctx) {
  return {
    waitUntil(promise) {
      waiting += 1;
      const settled = Promise.resolve(promise).then(
        () => {},
        (error) => emit("error", ["waitUntil:", error]),
      );
      ctx.waitUntil(settled.finally(() => { waiting -= 1; }));
    },
    passThroughOnException() {},
    get props() { return ctx.props; },
  };
}

function describe(value) {
  if (value === null || typeof value !== "object") return String(value);
  return value.constructor?.name ? `an object of ${value.constructor.name}` : "an object";
}

/** `message` says all of it, `said` what the error itself says, without its name. */
function failure(error) {
  const message = thrownText(error);
  let said = message;
  try {
    if (isError(error)) said = typeof error.message === "string" && error.message ? error.message : headOf(error);
  } catch {
    // A getter of the function's own.
  }
  const report = {
    message: message.slice(0, MAX_CHARS),
    said: said.slice(0, MAX_CHARS),
    stack: thrownStack(error) ?? null,
  };
  return new Response(stringify(report), { status: 500, headers: { "x-isolet-error": "1" } });
}

async function run(request, env, ctx, call, id) {
  try {
    const control = execution(ctx);
    const reply = await handler(request, contextOf(env, control, call, id), control);
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
    return failure(error);
  }
}

export default {
  fetch(request, env, ctx) {
    const call = request.cf ?? {};
    if (call.probe) {
      if (call.collect) collectGarbage();
      return new Response(`{"waiting":${waiting}}`);
    }
    return calls.run({ id: call.id, lines: 0, ctx }, run, request, env, ctx, call.context, call.id);
  },
};
