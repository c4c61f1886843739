// What a project may still store. The host knows the limit, what lies in files, and what the other stores hold; each
// store says what its own database holds, and what its kind ever wrote to files. What was written since is counted here.

const KEPT_MS = 1_000;
// With less room than this the host is asked each time: another store may have taken it.
const AMPLE_BYTES = 64 * 1024 * 1024;
// What the host, and with it the other stores, may not know of.
const UNTOLD_BYTES = 262_144;
const DEFAULT = "default";

let written = 0;
const rooms = new Map();

/** Which store a request is for; the host, or the configuration of an instance, says it. */
export function storeOf(request) {
  return request.headers.get("x-isolet-store") ?? DEFAULT;
}

/** The room of a store, by the id of its object; `kind` is `kv` or `sql`. */
export function roomOf(kind, id) {
  const key = String(id);
  let room = rooms.get(key);
  if (room === undefined) rooms.set(key, room = new Room(kind, key));
  return room;
}

export function count(bytes) {
  written += bytes;
}

class Room {
  #kind;
  #id;
  #told = null;
  #askedAt = 0;
  #tell = { used: 0, written: 0 };
  // Bytes of the store's database; null until it has said so.
  used = null;

  constructor(kind, id) {
    this.#kind = kind;
    this.#id = id;
  }

  get refusal() {
    return `the project's storage is full: it holds ${this.#told.limit_mb} MiB, as its limit "storage_mb" allows`;
  }

  /** Ask the host, unless its last answer will do. */
  async refresh(env, fresh = false) {
    const old = this.#told === null || Date.now() - this.#askedAt >= KEPT_MS;
    if (old || fresh || !this.fits(AMPLE_BYTES)) await this.#ask(env, fresh);
  }

  /** Tell the host, after a write that it should know of. */
  async report(env) {
    const { used, written: toldOf } = this.#tell;
    if (Math.abs((this.used ?? used) - used) + written - toldOf > UNTOLD_BYTES) await this.#ask(env, false);
  }

  /** Whether the store may hold what it does, with `more` bytes in files. */
  fits(more = 0, used = this.used ?? 0) {
    const told = this.#told;
    return told === null || used + told.files + written - this.#tell.written + more <= told.allowed;
  }

  async #ask(env, fresh) {
    this.#askedAt = Date.now();
    this.#tell = { used: this.used ?? 0, written };
    const query = new URLSearchParams({ store: this.#kind, id: this.#id, written, fresh: fresh ? 1 : 0 });
    // What is not known here the host knows from the file.
    if (this.used !== null) query.set("used", this.used);
    try {
      this.#told = await (await env.HOST.fetch(`http://host/room?${query}`)).json();
    } catch {
      // What was told last holds.
    }
  }
}
