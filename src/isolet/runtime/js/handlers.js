// Finds the handlers of the function's module, in every accepted shape.

import { WorkerEntrypoint } from "cloudflare:workers";

import { calls } from "./console.js";
import * as module from "../function.js";

const main = module.default;
const isClass = typeof main === "function" && /^class\b/.test(Function.prototype.toString.call(main));
let found = false;

/** One object of the class for each event, as the runtime makes them. */
function entrypoint(name) {
  return (event, env, control) => {
    // The runtime takes no context but its own; `waitUntil` is to be ours.
    const called = new main(calls.getStore().ctx, env);
    called.ctx = control;
    return called[name](event);
  };
}

/** A method of the default object or class, `undefined` where it has none of this name. */
export function memberHandler(name) {
  const handler = findMember(name);
  found ||= handler !== undefined;
  return handler;
}

function findMember(name) {
  if (isClass) {
    return main.prototype instanceof WorkerEntrypoint && typeof main.prototype[name] === "function"
      ? entrypoint(name)
      : undefined;
  }
  if (main !== null && typeof main === "object" && typeof main[name] === "function") {
    return (event, env, ctx) => main[name](event, env, ctx);
  }
  return undefined;
}

/** The handler of calls over HTTP, which may also be a plain function. */
export function fetchHandler() {
  const plain = [isClass ? undefined : main, module.handler];
  const handler = memberHandler("fetch") ?? plain.find((one) => typeof one === "function");
  found ||= handler !== undefined;
  return handler;
}

/** Throws a TypeError for a module that handles no event; to be called when every event has looked for its handler. */
export function requireHandler() {
  if (found) return;
  if (isClass) {
    throw new TypeError(
      "Function must export a handler function: a default class must extend `WorkerEntrypoint` and have `fetch` or `scheduled`",
    );
  }
  throw new TypeError(
    "Function must export a handler function: `async function handler(request, env)`, a default function, "
      + "or a default object with `fetch` or `scheduled`",
  );
}
