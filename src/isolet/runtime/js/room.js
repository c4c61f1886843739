// What a project may still store. The host knows the limit, what lies in files, and what the other store holds; each
// store says what its own database holds, and what it ever wrote to files. What it wrote since is counted here.

const KEPT_MS = 1_000;
// With less room than this the host is asked each time: the other store may have taken it.
const AMPLE_BYTES = 64 * 1024 * 1024;
// What the host, and with it the other store, may not know of.
const UNTOLD_BYTES = 262_144;

let told = null;
let askedAt = 0;
let written = 0;
let tell = { used: 0, written: 0 };

export function refusal() {
  return `the project's storage is full: it holds ${told.limit_mb} MiB, as its limit "storage_mb" allows`;
}

/** Ask the host, unless its last answer will do. `used` are the bytes of the store's database. */
export async function refresh(env, store, used, fresh = false) {
  const old = told === null || Date.now() - askedAt >= KEPT_MS;
  if (old || fresh || !fits(used, AMPLE_BYTES)) await ask(env, store, used, fresh);
}

/** Tell the host, after a write that it should know of. */
export async function report(env, store, used) {
  if (Math.abs(used - tell.used) + written - tell.written > UNTOLD_BYTES) await ask(env, store, used, false);
}

async function ask(env, store, used, fresh) {
  askedAt = Date.now();
  tell = { used, written };
  const query = new URLSearchParams({ store, used, written, fresh: fresh ? 1 : 0 });
  try {
    told = await (await env.HOST.fetch(`http://host/room?${query}`)).json();
  } catch {
    // What was told last holds.
  }
}

export function count(bytes) {
  written += bytes;
}

/** Whether the store may hold so many bytes in its database, with `more` in files. */
export function fits(used, more = 0) {
  return told === null || used + told.files + written - tell.written + more <= told.allowed;
}
