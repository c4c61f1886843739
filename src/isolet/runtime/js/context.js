// The second argument of every handler. Upper-case members are bindings, variables and secrets; lower-case ones are the
// platform's context, made when they are first used, so that a call that does not use them pays nothing.

import { env as importable } from "cloudflare:workers";

import { Database, Idempotency, KeyValue } from "./stores.js";

const MEMBER = /^[A-Z0-9_]+$/;
const BODILESS = /^(get|head)$/i;
const MAX_DEPTH = 4;
// As they are before the function's module can change them.
const encode = encodeURIComponent;
const textOf = String;
const stringify = JSON.stringify;
const NO_CALL = { user: null, caller: null, request: null, depth: 0 };

// The wrapper's own bindings are taken away before the function's module can import `env`.
const { __isolet: bytes, __isolet_loopback: loopback } = importable;
delete importable.__isolet;
delete importable.__isolet_loopback;
const own = bytes ? JSON.parse(new TextDecoder().decode(bytes)) : {};
const variables = own.environment ?? {};
const BINDINGS = ["KV", "DB", ...(own.bindings ?? [])];

// Libraries look for variables there; bindings are bindings, whatever variables are called.
for (const [name, value] of Object.entries(variables)) {
  if (BINDINGS.includes(name)) continue;
  // As in what handlers get, a variable stands above a secret of its name, and lower-case names are the platform's.
  if (MEMBER.test(name)) importable[name] = value;
  // The global, and not the module of the same object: loading that takes a third of a start.
  globalThis.process.env[name] = typeof value === "string" ? value : JSON.stringify(value);
}

// What is the same for all calls of this instance.
let shared;

function share(env) {
  const bindings = { ...env };
  const all = { ...bindings, ...variables };
  for (const [name, value] of Object.entries(variables)) {
    if (MEMBER.test(name) && !BINDINGS.includes(name)) bindings[name] = value;
  }
  for (const name of BINDINGS) {
    // Bindings are no variables: `Object.keys(ctx.env)` shows variables only.
    if (bindings[name] !== undefined && variables[name] === undefined) {
      Object.defineProperty(all, name, { value: bindings[name], enumerable: false });
    }
  }
  const database = bindings.DB && new Database(bindings.DB);
  return {
    bindings,
    env: all,
    app: own.app ?? null,
    token: own.token ?? "",
    loopback,
    db: database ?? null,
    kv: database ? new KeyValue(bindings.DB) : null,
    idempotency: database ? new Idempotency(bindings.DB) : null,
  };
}

function copyOf(env) {
  return Object.create(Object.prototype, Object.getOwnPropertyDescriptors(env));
}

class Context {
  #call;
  #id;
  #env;

  constructor(control, call, id) {
    Object.assign(this, shared.bindings);
    this.#call = call ?? NO_CALL;
    this.#id = id;
    this.waitUntil = control.waitUntil;
  }

  get env() { return (this.#env ??= copyOf(shared.env)); }
  get user() { return this.#call.user; }
  get caller() { return this.#call.caller; }
  get request() { return this.#call.request; }
  get app() { return shared.app; }
  get db() { return shared.db; }
  get kv() { return shared.kv; }
  get idempotency() { return shared.idempotency; }
  // Bound to the call, so that it can be taken out of the context.
  get realtime() { return { publish: (channel, event, data) => publish(this.#id, channel, event, data) }; }
  get flows() { return { start: (workflow, options) => startFlow(this.#id, workflow, options) }; }
  get invoke() { return (name, body, options) => invoke(this.#call, this.#id, name, body, options); }
}

// `{seq}`: the message's number in its channel.
function publish(id, channel, event, data) {
  return ask(id, "ctx.realtime.publish", "realtime/publish", { channel, event, data: data === undefined ? null : data });
}

// `{id, tracking_id}` of the run that began.
function startFlow(id, workflow, options) {
  const { variables, context, tracking_id } = options ?? {};
  return ask(id, "ctx.flows.start", "flows/start", { workflow, variables, context, tracking_id });
}

// What a service of the server's answers.
async function ask(id, name, path, body) {
  if (!shared.loopback) throw new Error(`${name} is not available here`);
  const reply = await shared.loopback.fetch(`http://functions/${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-isolet-token": shared.token, "x-isolet-call": textOf(id) },
    body: stringify(body),
  });
  const told = await reply.json();
  if (!reply.ok) throw new Error(`${name}: ${told.error?.message ?? told.error}`);
  return told;
}

async function invoke(call, id, name, body, options) {
  options ??= {};
  const depth = call.depth ?? 0;
  if (depth >= MAX_DEPTH) throw new Error(`ctx.invoke loop limit exceeded: functions may call ${MAX_DEPTH} deep`);
  if (typeof name !== "string" || name === "") throw new TypeError("ctx.invoke needs the name of a function");
  if (!shared.loopback) throw new Error("ctx.invoke is not available here");
  const headers = new Headers(options.headers ?? {});
  headers.set("content-type", "application/json");
  headers.set("x-isolet-token", shared.token);
  // The host knows of it how deep it is, and for whom.
  headers.set("x-isolet-call", textOf(id));
  const method = typeof options.method === "string" ? options.method : "POST";
  const bodiless = body === undefined || BODILESS.test(method);
  return shared.loopback.fetch(`http://functions/${encode(name)}`, {
    method,
    headers,
    // Text is sent as it is: it may be JSON already.
    body: bodiless ? undefined : typeof body === "string" ? body : JSON.stringify(body),
    signal: options.signal,
    redirect: "manual",
  });
}

export function contextOf(env, control, call, id) {
  shared ??= share(env);
  return new Context(control, call, id);
}
