// Captures what a function prints. It is loaded before the function's module, so `console` is ours from the first line.
//
// Every line goes to standard output at once, as RS + JSON [call id, level, ms, text, stack, cut]: the host reads it
// even when the loop of this process is stuck. The host bounds all of it once more, for a function may take this apart.

import { AsyncLocalStorage } from "node:async_hooks";

import { isError, showWith, thrownStack } from "./errors.js";
import { format, MAX_TEXT, show } from "./format.js";

showWith(show);

/** The call that is running: `{ id, lines, ctx, control }`. */
export const calls = new AsyncLocalStorage();

/** The runtime's own, whatever the function puts in its place. */
export const Response = globalThis.Response;
export const stringify = JSON.stringify;

/** V8's own collection; functions do not see it. */
export const collectGarbage = globalThis.gc;
globalThis.gc = undefined;

// One more than is kept: it tells the host that there were more.
const MAX_LINES = 101;
// A group's lines are indented so far at most.
const MAX_INDENT = 20;
const MAX_TIMERS = 1_000;
const print = console.log.bind(console);
const now = Date.now;

// Lines outside of a call, so many a second: the host says whose they are.
const outside = { id: "", lines: 0, since: 0 };

function account() {
  const call = calls.getStore();
  if (call !== undefined) return call;
  if (now() - outside.since > 1_000) {
    outside.since = now();
    outside.lines = 0;
  }
  return outside;
}

export function emit(level, values) {
  const call = account();
  if (call.lines >= MAX_LINES) return;
  call.lines += 1;
  if (call.lines === MAX_LINES) values = [];
  let text, stack;
  try {
    text = format(values);
    if (call.indent) text = call.indent + text;
    const error = values.find(isError);
    stack = error && thrownStack(error);
  } catch {
    text ??= "[a line that cannot be shown]";
  }
  write(call.id, level, text, stack);
}

function write(id, level, text, stack) {
  const line = [id ?? "", level, now(), text.slice(0, MAX_TEXT), stack ?? null];
  if (text.length > MAX_TEXT) line.push(true);
  writeLine("\x1e", line);
}

/** A line for the host: its mark, and JSON that begins with the id of a call. */
export function writeLine(mark, members) {
  print(mark + stringify(members));
}

for (const [method, level] of Object.entries({
  log: "log", info: "info", warn: "warn", error: "error", debug: "debug", table: "log", dirxml: "log",
})) {
  console[method] = { [method](...values) { emit(level, values); } }[method];
}

const timers = new Map();
const counts = new Map();

function label(value) {
  try {
    return String(value ?? "default").slice(0, 200);
  } catch {
    return "default";
  }
}

function limited(map, name, value) {
  if (map.size < MAX_TIMERS || map.has(name)) map.set(name, value);
}

Object.assign(console, {
  dir(value) { emit("log", [value]); },
  trace(...values) {
    const place = new Error();
    place.name = "Trace";
    place.message = format(values);
    const call = account();
    if (call.lines < MAX_LINES) {
      call.lines += 1;
      write(call.id, "debug", place.message, `Trace: ${place.message}\n${(thrownStack(place) ?? "").split("\n").slice(1).join("\n")}`);
    }
  },
  assert(condition, ...values) {
    if (condition) return;
    if (typeof values[0] === "string") values[0] = `Assertion failed: ${values[0]}`;
    else values.unshift("Assertion failed");
    emit("error", values);
  },
  count(name) {
    const key = label(name);
    limited(counts, key, (counts.get(key) ?? 0) + 1);
    emit("log", [`${key}: ${counts.get(key) ?? "?"}`]);
  },
  countReset(name) { counts.delete(label(name)); },
  group(...values) {
    if (values.length > 0) emit("log", values);
    const call = account();
    if ((call.indent ?? "").length < MAX_INDENT) call.indent = `${call.indent ?? ""}  `;
  },
  groupEnd() {
    const call = account();
    call.indent = (call.indent ?? "").slice(2);
  },
  time(name) { limited(timers, label(name), now()); },
  timeLog(name, ...values) {
    const began = timers.get(label(name));
    if (began !== undefined) emit("log", [`${label(name)}: ${now() - began}ms`, ...values]);
  },
  timeEnd(name) {
    console.timeLog(name);
    timers.delete(label(name));
  },
  clear() {},
  timeStamp() {},
  profile() {},
  profileEnd() {},
});
console.groupCollapsed = console.group;

// What nobody catches: the runtime drops it, so it is printed as a line of the call that caused it.
addEventListener("error", (event) => emit("error", ["Uncaught:", event.error]));
addEventListener("unhandledrejection", (event) => emit("error", ["Unhandled rejection:", event.reason]));

// Of what a timer throws the runtime tells no event.
for (const name of ["setTimeout", "setInterval", "setImmediate"]) {
  const start = globalThis[name];
  if (start === undefined) continue;
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
