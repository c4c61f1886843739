// The runtime's own KV, with a limit to what the project stores. Values over 64 KiB are files there, others are rows.

import kv, { KVNamespace as Namespace } from "./kv.js";
import { count, roomOf, storeOf } from "./room.js";

const INLINE_BYTES = 64 * 1024;
const VALUE_MAX_BYTES = 25 * 1024 * 1024;
// A row's key, metadata and what stands around them.
const ROW_BYTES = 2_048;

export class KVNamespace extends Namespace {
  #room;

  constructor(ctx, env) {
    super(ctx, env);
    this.#room = roomOf("kv", ctx.id);
    this.#measure();
  }

  write(...row) {
    const version = super.write(...row);
    this.#measure();
    return version;
  }

  remove(key) {
    const version = super.remove(key);
    this.#measure();
    return version;
  }

  async alarm() {
    await super.alarm();
    this.#measure();
  }

  #measure() {
    this.#room.used = this.sql.databaseSize;
  }
}

export default {
  async fetch(request, env, ctx) {
    const namespace = storeOf(request);
    const asked = { props: { namespace }, waitUntil: (work) => ctx.waitUntil(work) };
    if (request.method !== "PUT") return kv.fetch(request, env, asked);
    const value = await request.arrayBuffer();
    const size = value.byteLength;
    const id = env.SHARD.idFromName(namespace);
    const room = roomOf("kv", id);
    // A larger one is refused anyway.
    if (size <= VALUE_MAX_BYTES) {
      // So that the object has said what it holds.
      if (room.used === null) await env.SHARD.get(id).read([]);
      await room.refresh(env);
      if (!room.fits(size + ROW_BYTES)) await room.refresh(env, true);
      if (!room.fits(size + ROW_BYTES)) return new Response(null, { status: 413, statusText: room.refusal });
      if (size > INLINE_BYTES) count(size);
    }
    // No new `Request`, which would read the address, and with it the key, in its own way.
    const { method, url, headers } = request;
    const reply = await kv.fetch({ method, url, headers, arrayBuffer: async () => value }, env, asked);
    ctx.waitUntil(room.report(env));
    return reply;
  },
};
