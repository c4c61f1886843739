// Counts the connections by which a project's functions leave, and refuses those over its limit. Each `fetch` that is
// under way, WebSocket and `connect` of a function is one connection here: HTTP to a proxy, or CONNECT. HTTP goes on to
// this process' own HTTP server, which nobody else reaches.

import { connect } from "cloudflare:sockets";

const HEAD_MAX_BYTES = 16_384;
const HEAD_TIMEOUT_MS = 10_000;
const LIMIT_KEPT_MS = 250;
// A host that is busy, or stopped, holds nothing up.
const LIMIT_TIMEOUT_MS = 1_000;
const DRAIN_MS = 1_000;
// How long a receiver may be silent after a function has closed its side, or ended.
const LINGER_MS = 30_000;
const REFUSED_LATELY_MS = 2_000;

const decoder = new TextDecoder("latin1");
const encoder = new TextEncoder();

let open = 0;
let limit = null;
let askedAt = 0;
let refusedAt = 0;

export function tooMany() {
  return `the project has ${limit} outgoing connections open, as many as its limit "connections" allows`;
}

export function refusedLately() {
  return Date.now() - refusedAt < REFUSED_LATELY_MS;
}

export async function count(socket, env) {
  const head = await withTimeout(readHead(socket.readable), HEAD_TIMEOUT_MS);
  if (head === null) return close(socket);
  await refreshLimit(env);
  if (open >= limit) return refuse(socket);
  open += 1;
  try {
    if (head.target === null) await passHttp(socket, env, head.bytes);
    else await passTcp(socket, head);
  } catch {
    // A side went; the other is closed below, and that is all there is to tell.
  } finally {
    open -= 1;
    await close(socket);
  }
}

/** What the operator allows may change while this process runs. */
async function refreshLimit(env) {
  limit ??= env.LIMIT;
  if (Date.now() - askedAt < LIMIT_KEPT_MS) return;
  askedAt = Date.now();
  // Where none is told, the last one holds.
  limit = (await withTimeout(told(env), LIMIT_TIMEOUT_MS)) ?? limit;
}

async function told(env) {
  return (await env.HOST.fetch("http://host/limit")).json();
}

/** `bytes` that came, of a CONNECT its `target` and what follows the head; null for a peer that said nothing. */
async function readHead(readable) {
  const reader = readable.getReader();
  let bytes = new Uint8Array();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return null;
      bytes = joined(bytes, value);
      const text = decoder.decode(bytes.subarray(0, HEAD_MAX_BYTES));
      if (text.length >= 8 && !text.startsWith("CONNECT ")) return { bytes, target: null };
      const end = text.indexOf("\r\n\r\n");
      if (end >= 0) return { bytes, target: text.split(" ", 2)[1], rest: bytes.subarray(end + 4) };
      if (bytes.length >= HEAD_MAX_BYTES) return null;
    }
  } finally {
    reader.releaseLock();
  }
}

function joined(left, right) {
  if (left.length === 0) return right;
  const both = new Uint8Array(left.length + right.length);
  both.set(left);
  both.set(right, left.length);
  return both;
}

async function refuse(socket) {
  refusedAt = Date.now();
  const text = encoder.encode(`cannot fetch: ${tooMany()}\n`);
  const head = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n"
    + `x-isolet-egress: refused\r\ncontent-length: ${text.length}\r\n\r\n`;
  await write(socket, joined(encoder.encode(head), text));
  // A request's body that nobody read would break the reply off.
  await withTimeout(socket.readable.pipeTo(new WritableStream()), DRAIN_MS);
  await close(socket);
}

async function passHttp(socket, env, bytes) {
  const server = env.HTTP.connect("http:80", { allowHalfOpen: true });
  try {
    await write(server, bytes);
    // A client that ends wants its reply no longer.
    await Promise.race([socket.readable.pipeTo(server.writable), server.readable.pipeTo(socket.writable)]);
  } finally {
    await close(server);
  }
}

async function passTcp(socket, { target, rest }) {
  let server;
  try {
    server = connect(target, { allowHalfOpen: true });
    await server.opened;
  } catch {
    return write(socket, encoder.encode("HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"));
  }
  try {
    await write(socket, encoder.encode("HTTP/1.1 200 OK\r\n\r\n"));
    if (rest.length > 0) await write(server, rest);
    const sent = socket.readable.pipeTo(server.writable);
    const seen = { chunks: 0 };
    const brought = bring(server, socket, seen);
    await Promise.race([brought, giveUp(sent, brought, seen)]);
  } finally {
    await close(server);
  }
}

async function bring(server, socket, seen) {
  const reader = server.readable.getReader();
  const writer = socket.writable.getWriter();
  for (let part; !(part = await reader.read()).done; ) {
    seen.chunks += 1;
    await writer.write(part.value);
  }
  await writer.close();
}

/** Ends once the function's side has ended and the server says nothing more. */
async function giveUp(sent, brought, seen) {
  await sent;
  for (let before = -1; before !== seen.chunks; ) {
    before = seen.chunks;
    await Promise.race([brought, scheduler.wait(LINGER_MS)]);
  }
}

async function write(socket, bytes) {
  const writer = socket.writable.getWriter();
  try {
    await writer.write(bytes);
  } finally {
    writer.releaseLock();
  }
}

async function close(socket) {
  try {
    await socket.close();
  } catch {
    // It is closed.
  }
}

/** What `work` gives, or null when it takes longer or fails. */
function withTimeout(work, milliseconds) {
  return Promise.race([work.catch(() => null), scheduler.wait(milliseconds).then(() => null)]);
}
