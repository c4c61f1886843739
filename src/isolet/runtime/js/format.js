// Turns what a function prints into text: plain data as JSON, anything else as Node's `console` shows it. Whatever it is
// given, nothing is thrown and the work ends with the text that is kept: getters that throw, proxies, circles, text
// without end.

import { headOf, isError, ownStack } from "./errors.js";

export const MAX_TEXT = 10_000;
const MAX_DEPTH = 100;
const MAX_NODE_DEPTH = 6;
const MAX_BYTES_SHOWN = 50;
const UNSHOWN = "[a value that cannot be shown]";
const NAME = /^[A-Za-z_$][\w$]*$/;
const MARK = /%[sdifjoOc%]/g;

const { stringify } = JSON;
const { getPrototypeOf, getOwnPropertyDescriptor, prototype: plainPrototype } = Object;
const { ownKeys } = Reflect;
const { isArray } = Array;
const string = String;

const FULL = Symbol("full");
const NOT_JSON = Symbol("not JSON");

/** Text that ends where it is cut. With `json` it takes nothing that JSON cannot say. */
class Writer {
  constructor(json) {
    this.json = json;
    this.parts = [];
    this.size = 0;
    this.path = [];
  }

  put(text) {
    this.parts.push(text);
    this.size += text.length;
    if (this.size > MAX_TEXT) throw FULL;
  }

  other(text) {
    if (this.json) throw NOT_JSON;
    this.put(text);
  }

  get text() {
    return this.parts.join("");
  }
}

function is(value, type) {
  try {
    return value instanceof type;
  } catch {
    return false;
  }
}

function isData(value) {
  try {
    const prototype = getPrototypeOf(value);
    return prototype === plainPrototype || prototype === null;
  } catch {
    return true;
  }
}

function nameOf(value) {
  try {
    return string(value.constructor.name).slice(0, 200) || "Object";
  } catch {
    return "Object";
  }
}

/** One value as text, a little longer than what is kept when it is cut. */
export function show(value) {
  if (typeof value === "bigint") return string(value);
  for (const json of [true, false]) {
    const writer = new Writer(json);
    try {
      write(writer, value, 0);
      return writer.text;
    } catch (error) {
      if (error === FULL) return writer.text;
      if (error !== NOT_JSON) return UNSHOWN;
    }
  }
  return UNSHOWN;
}

function write(writer, value, depth) {
  switch (typeof value) {
    case "string": return quote(writer, value);
    case "number": return Number.isFinite(value) ? writer.put(string(value)) : writer.other(string(value));
    case "boolean": return writer.put(string(value));
    case "bigint": return writer.other(`${value}n`);
    case "undefined": return writer.other("undefined");
    case "symbol": return writer.other(string(value).slice(0, MAX_TEXT));
    case "function": return writer.other(functionText(value));
    default:
  }
  if (value === null) return writer.put("null");
  if (writer.path.includes(value)) return writer.other("[Circular]");
  writer.path.push(value);
  writeObject(writer, value, depth);
  writer.path.pop();
}

function quote(writer, text) {
  const part = text.slice(0, MAX_TEXT);
  const json = stringify(part);
  writer.put(writer.json || part.includes("'") ? json : `'${json.slice(1, -1).replaceAll('\\"', '"')}'`);
}

function functionText(value) {
  const kind = /^class\b/.test(Function.prototype.toString.call(value).slice(0, 6)) ? "class" : "Function";
  let name;
  try {
    name = string(value.name).slice(0, 200);
  } catch {
    // A proxy may do so.
  }
  if (!name) return `[${kind} (anonymous)]`;
  return kind === "class" ? `[class ${name}]` : `[${kind}: ${name}]`;
}

function writeObject(writer, value, depth) {
  if (isError(value)) return writeError(writer, value, depth);
  if (depth > (writer.json ? MAX_DEPTH : MAX_NODE_DEPTH)) return writer.other(isArray(value) ? "[Array]" : "[Object]");
  if (is(value, Date)) return writeDate(writer, value);
  if (isArray(value)) return writeList(writer, value, depth);
  if (!isData(value) && writeSpecial(writer, value, depth)) return;
  const { toJSON } = value;
  if (typeof toJSON === "function") return write(writer, toJSON.call(value, ""), depth + 1);
  writeMembers(writer, value, depth, !isData(value));
}

function writeDate(writer, value) {
  if (Number.isNaN(+value)) return writer.other("Invalid Date");
  writer.put(writer.json ? stringify(value.toISOString()) : value.toISOString());
}

function writeList(writer, value, depth) {
  writer.put(writer.json ? "[" : "[ ");
  for (let i = 0; i < value.length; i += 1) {
    if (i > 0) writer.put(writer.json ? "," : ", ");
    if (i in value) write(writer, value[i], depth + 1);
    else writer.other("<empty>");
  }
  writer.put(writer.json ? "]" : " ]");
}

/** What has more to say than its members; whether this is such. */
function writeSpecial(writer, value, depth) {
  const pairs = [Map, Headers, URLSearchParams, FormData].some((type) => is(value, type));
  if (pairs || is(value, Set)) writeEntries(writer, value, depth, pairs);
  else if (is(value, RegExp)) writer.other(string(value).slice(0, MAX_TEXT));
  else if (is(value, Promise)) writer.other("Promise {}");
  else if (is(value, WeakMap) || is(value, WeakSet)) writer.other(`${nameOf(value)} { <items unknown> }`);
  else if (is(value, ArrayBuffer) || is(value, DataView)) writer.other(`${nameOf(value)} { byteLength: ${value.byteLength} }`);
  else if (ArrayBuffer.isView(value)) writeBytes(writer, value);
  else if (is(value, Request)) writer.other(`Request { ${value.method} ${value.url} }`);
  else if (is(value, Response)) writer.other(`Response { status: ${value.status} }`);
  else if (is(value, String) || is(value, Number) || is(value, Boolean)) write(writer, value.valueOf(), depth);
  else return false;
  return true;
}

function writeEntries(writer, values, depth, pairs) {
  writer.other(values.size === undefined ? `${nameOf(values)} {` : `${nameOf(values)}(${values.size}) {`);
  let between = " ";
  for (const one of values) {
    writer.put(between);
    between = ", ";
    if (pairs) {
      write(writer, one[0], depth + 1);
      writer.put(" => ");
    }
    write(writer, pairs ? one[1] : one, depth + 1);
  }
  writer.put(between === " " ? "}" : " }");
}

function writeBytes(writer, value) {
  const shown = [...value.subarray(0, MAX_BYTES_SHOWN)].map(string);
  if (value.length > shown.length) shown.push(`… ${value.length - shown.length} more items`);
  writer.other(`${nameOf(value)}(${value.length}) [ ${shown.join(", ")} ]`);
}

function writeMembers(writer, value, depth, named, hidden = []) {
  writer.put(named && !writer.json ? `${nameOf(value)} {` : "{");
  let between = writer.json ? "" : " ";
  for (const key of ownKeys(value)) {
    const found = getOwnPropertyDescriptor(value, key);
    if (!found?.enumerable || hidden.includes(key)) continue;
    writer.put(between);
    between = writer.json ? "," : ", ";
    writeKey(writer, key);
    writeMember(writer, value, found, key, depth);
  }
  writer.put(writer.json || between === " " ? "}" : " }");
}

function writeKey(writer, key) {
  if (typeof key === "symbol") return writer.other(`[${string(key).slice(0, MAX_TEXT)}]: `);
  if (writer.json || key.length > MAX_TEXT || !NAME.test(key)) quote(writer, key);
  else writer.put(key);
  writer.put(writer.json ? ":" : ": ");
}

function writeMember(writer, value, found, key, depth) {
  let one;
  try {
    one = found.get ? found.get.call(value) : value[key];
  } catch (error) {
    return writer.other(`[Getter: threw ${isError(error) ? headOf(error) : typeof error}]`);
  }
  write(writer, one, depth + 1);
}

/** `Name: message` on its own, with its lines inside of something; then what else it has, its cause and its errors. */
function writeError(writer, error, depth) {
  const head = depth === 0 ? headOf(error) : ownStack(error) || headOf(error);
  writer.other(depth === 0 || head.includes("\n") ? head : `[${head}]`);
  if (depth > MAX_NODE_DEPTH) return;
  const more = ownKeys(error).filter((key) => !["stack", "message", "name", "cause", "errors"].includes(key));
  if (more.some((key) => getOwnPropertyDescriptor(error, key)?.enumerable)) {
    writer.put(" ");
    writeMembers(writer, error, depth, false, ["stack", "message", "name", "cause", "errors"]);
  }
  for (const name of ["cause", "errors"]) {
    const value = error[name];
    if (value === undefined || (name === "errors" && !isArray(value))) continue;
    writer.put(`\n  [${name}]: `);
    write(writer, value, depth + 1);
  }
}

/** The values of one line as text, with `%s %d %i %f %j %o %O %c %%` in the first. It may be cut, and is longer then. */
export function format(values) {
  const [first] = values;
  if (values.length === 1) return plain(first);
  const parts = [];
  let next = 0;
  if (typeof first === "string" && first.includes("%")) {
    next = 1;
    parts.push(first.slice(0, MAX_TEXT + 1).replace(MARK, (mark) => {
      if (mark === "%%") return "%";
      return next < values.length ? formatted(mark[1], values[next++]) : mark;
    }));
  }
  for (let size = 0; next < values.length && size <= MAX_TEXT; next += 1) {
    parts.push(plain(values[next]));
    size += parts[parts.length - 1].length + 1;
  }
  return parts.join(" ");
}

function plain(value) {
  return typeof value === "string" ? value.slice(0, MAX_TEXT + 1) : show(value);
}

function formatted(mark, value) {
  const object = (typeof value === "object" && value !== null) || typeof value === "function";
  const number = !object && typeof value !== "symbol";
  switch (mark) {
    case "s": return object ? show(value) : plain(typeof value === "symbol" ? string(value) : value);
    case "c": return "";
    case "d": case "i": case "f":
      if (typeof value === "bigint") return `${value}n`;
      if (!number) return "NaN";
      return string(mark === "d" ? Number(value) : mark === "i" ? parseInt(value, 10) : parseFloat(value));
    default: return show(value);
  }
}
