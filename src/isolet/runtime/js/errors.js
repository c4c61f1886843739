// What is told of what a function throws: errors, their causes and the errors in them, and things that are no errors.

const MAX_CHARS = 10_000;
const MAX_ERRORS = 10;
const UNSHOWN = "[a value that cannot be shown]";
const { isArray } = Array;
const string = String;
const Suppressed = SuppressedError;

// `format.js` builds on this module, and is needed for what is no error.
let show = string;

export function showWith(shower) {
  show = shower;
}

export function isError(value) {
  try {
    return value instanceof Error;
  } catch {
    return false;
  }
}

function get(object, name) {
  try {
    return object[name];
  } catch {
    return undefined;
  }
}

/** `Name: message`. */
export function headOf(error) {
  try {
    const said = string(error);
    if (said && !said.startsWith("[object ")) return said.slice(0, MAX_CHARS);
  } catch {
    // Its parts may do.
  }
  const parts = [get(error, "name"), get(error, "message")].filter((part) => typeof part === "string" && part);
  return parts.join(": ").slice(0, MAX_CHARS) || UNSHOWN;
}

// Places of the wrapper and of the runtime, which tell its author nothing. What stands before a place is a name, and may be
// the path of a file of the author's.
const FOREIGN = /^\s+at (?:.* \()?(?:async )?(?:isolet\/|(?:cloudflare|node)(?:-internal)?:)[^()]*\)?$/;

/** Stack lines of the function's own code only; undefined when it has no stack. */
export function ownStack(error) {
  const stack = error === null || error === undefined ? undefined : get(error, "stack");
  if (typeof stack !== "string") return undefined;
  return stack
    .slice(0, 4 * MAX_CHARS)
    .split("\n")
    .filter((line) => !FOREIGN.test(line))
    .join("\n")
    .slice(0, MAX_CHARS);
}

/** What belongs to an error: its causes, one after the other, and the errors in it. Circles end. */
function inside(error) {
  const found = [];
  const seen = new Set([error]);
  const add = (label, one) => {
    if (one === undefined || one === null || seen.has(one) || found.length >= MAX_ERRORS) return;
    seen.add(one);
    found.push([label, one]);
    if (isError(one)) addFrom(one);
  };
  const addFrom = (one) => {
    const errors = get(one, "errors");
    if (isArray(errors)) for (let i = 0; i < errors.length && i < MAX_ERRORS; i += 1) add(`error ${i + 1}`, errors[i]);
    add("caused by", get(one, "cause"));
    if (one instanceof Suppressed) {
      add("error", get(one, "error"));
      add("suppressed", get(one, "suppressed"));
    }
  };
  addFrom(error);
  return found;
}

function textOf(value) {
  if (isError(value)) return headOf(value);
  return (typeof value === "string" ? value : show(value)).slice(0, MAX_CHARS);
}

/** What an object says of itself, when it says more than that it is one. Throws what its `toString` throws. */
function ownText(value) {
  if (typeof value !== "object" || value === null || isArray(value) || typeof value.toString !== "function") return undefined;
  const said = string(value);
  return said.startsWith("[object ") ? undefined : said.slice(0, MAX_CHARS);
}

/** In one text what was thrown: `Name: message` with what is inside; JSON, or as it prints, when it is no error. */
export function thrownText(thrown) {
  try {
    if (!isError(thrown)) return ownText(thrown) || textOf(thrown) || "the handler threw an empty text";
    const said = inside(thrown).map(([label, one]) => `; ${label}: ${textOf(one)}`);
    return (headOf(thrown) + said.join("")).slice(0, MAX_CHARS);
  } catch {
    return "the handler threw a value that cannot be shown";
  }
}

/** The stack of an error, and below it those of what is inside; undefined for what has none. */
export function thrownStack(thrown) {
  try {
    const own = ownStack(thrown);
    if (own === undefined || !isError(thrown)) return own;
    const others = inside(thrown).map(([label, one]) => `${label}: ${(isError(one) && ownStack(one)) || textOf(one)}`);
    return [own, ...others].join("\n").slice(0, MAX_CHARS);
  } catch {
    return undefined;
  }
}
