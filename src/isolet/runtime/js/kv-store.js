// The runtime's own KV, with a limit to what the project stores. Values over 64 KiB are files there, others are rows.

import kv, { KVNamespace as Namespace } from "./kv.js";
import { count, fits, refresh, refusal, report } from "./room.js";

const INLINE_BYTES = 64 * 1024;
const VALUE_MAX_BYTES = 25 * 1024 * 1024;
// A row's key, metadata and what stands around them.
const ROW_BYTES = 2_048;

let used = 0;

export class KVNamespace extends Namespace {
  constructor(ctx, env) {
    super(ctx, env);
    used = this.sql.databaseSize;
  }

  write(...row) {
    const version = super.write(...row);
    used = this.sql.databaseSize;
    return version;
  }

  remove(key) {
    const version = super.remove(key);
    used = this.sql.databaseSize;
    return version;
  }

  async alarm() {
    await super.alarm();
    used = this.sql.databaseSize;
  }
}

export default {
  async fetch(request, env, ctx) {
    if (request.method !== "PUT") return kv.fetch(request, env, ctx);
    const value = await request.arrayBuffer();
    const size = value.byteLength;
    // A larger one is refused anyway.
    if (size <= VALUE_MAX_BYTES) {
      // So that the object has said what it holds.
      if (used === 0) await env.SHARD.get(env.SHARD.idFromName(ctx.props.namespace)).read([]);
      await refresh(env, "kv", used);
      if (!fits(used, size + ROW_BYTES)) await refresh(env, "kv", used, true);
      if (!fits(used, size + ROW_BYTES)) return new Response(null, { status: 413, statusText: refusal() });
      if (size > INLINE_BYTES) count(size);
    }
    // No new `Request`, which would read the address, and with it the key, in its own way.
    const { method, url, headers } = request;
    const reply = await kv.fetch({ method, url, headers, arrayBuffer: async () => value }, env, ctx);
    ctx.waitUntil(report(env, "kv", used));
    return reply;
  },
};
