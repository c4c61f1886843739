// Captures what a function prints. It is loaded before the function's module, so `console` is ours from the first line.
//
// Every line goes to standard output at once, as RS + JSON [call id, level, ms, text, stack]: the host reads it even
// when the loop of this process is stuck.

import { AsyncLocalStorage } from "node:async_hooks";

/** The call that is running: `{ id, lines, ctx }`. */
export const calls = new AsyncLocalStorage();

/** The runtime's own, whatever the function puts in its place. */
export const Response = globalThis.Response;
export const stringify = JSON.stringify;

/** V8's own collection; functions do not see it. */
export const collectGarbage = globalThis.gc;
globalThis.gc = undefined;

const MAX_LINES = 100;
const MAX_CHARS = 10_000;
const print = console.log.bind(console);

function isError(value) {
  try {
    return value instanceof Error;
  } catch {
    return false;
  }
}

function asText(value) {
  if (typeof value === "string") return value;
  try {
    if (!isError(value)) return stringify(value) ?? String(value);
  } catch {
    // Its text may do where its JSON does not.
  }
  try {
    return String(value);
  } catch {
    return "[a value that cannot be shown]";
  }
}

/** Stack lines of the function's own code only. */
export function ownStack(error) {
  let stack;
  try {
    stack = error?.stack;
  } catch {
    return undefined;
  }
  if (typeof stack !== "string") return undefined;
  return stack
    .split("\n")
    .filter((line) => !line.includes("isolet/"))
    .join("\n")
    .slice(0, MAX_CHARS);
}

const loading = { id: "", lines: 0 };

export function emit(level, values) {
  const call = calls.getStore() ?? loading;
  if (call.lines >= MAX_LINES) return;
  call.lines += 1;
  const text = values.map(asText).join(" ").slice(0, MAX_CHARS);
  const error = values.find(isError);
  print("\x1e" + stringify([call.id, level, Date.now(), text, error ? ownStack(error) : null]));
}

for (const [method, level] of Object.entries({
  log: "log", info: "info", warn: "warn", error: "error", debug: "debug",
  trace: "debug", dir: "log", table: "log", group: "log",
})) {
  console[method] = (...values) => emit(level, values);
}

// What nobody catches: the runtime drops it, so it is printed as a line of the call that caused it.
addEventListener("error", (event) => emit("error", ["Uncaught:", event.error]));
addEventListener("unhandledrejection", (event) => emit("error", ["Unhandled rejection:", event.reason]));

// Of what a timer throws the runtime tells no event.
for (const name of ["setTimeout", "setInterval"]) {
  const start = globalThis[name];
  globalThis[name] = {
    [name](callback, ...rest) {
      if (typeof callback !== "function") return start(callback, ...rest);
      return start((...values) => {
        try {
          callback(...values);
        } catch (error) {
          emit("error", ["Uncaught:", error]);
        }
      }, ...rest);
    },
  }[name];
}
