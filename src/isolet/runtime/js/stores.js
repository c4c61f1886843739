// `ctx.db`, `ctx.kv` and `ctx.idempotency` over the project's SQL database. One statement is one transaction there, so
// what must be atomic is one statement.

const KEY_MAX_CHARS = 255;
const VALUE_MAX_BYTES = 262_144;
const DEFAULT_TTL_S = 30 * 24 * 3600;
// Text in quotes, comments, and `$1`.
const TOKENS = /'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\/\*[\s\S]*?\*\/|\$(\d+)/g;

function asParameter(value) {
  if (value === undefined || value === null) return null;
  if (typeof value === "boolean") return value ? 1 : 0;
  if (typeof value === "bigint") return String(value);
  if (value instanceof Date) return value.toISOString();
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return value;
  return typeof value === "object" ? JSON.stringify(value) : value;
}

const MISSED = /no such (table|column)|has no column named/;

function noRoles(name) {
  return () => {
    throw new Error(
      `ctx.db.${name} is not available: the project's database is SQLite, which has no row-level security. `
        + "Filter by ctx.user.id in your SQL",
    );
  };
}

export class Database {
  #db;
  asUser = noRoles("asUser");
  asAnon = noRoles("asAnon");

  constructor(db) {
    this.#db = db;
  }

  async query(sql, params) {
    const numbered = String(sql).replace(TOKENS, (text, number) => (number === undefined ? text : `?${number}`));
    const { results, meta } = await this.#db.prepare(numbered).bind(...(params ?? []).map(asParameter)).all();
    return { rows: results, rowCount: results.length || meta?.changes || 0 };
  }
}

// A table of the platform's own, made when it, or a later column of it, is first missed.
class OwnTable {
  #db;
  #definitions;

  constructor(db, ...definitions) {
    this.#db = db;
    this.#definitions = definitions;
  }

  async run(sql, ...params) {
    try {
      return (await this.#db.prepare(sql).bind(...params).all()).results;
    } catch (error) {
      if (!MISSED.test(String(error))) throw error;
      // One that is there already fails; what is really wrong shows when the statement runs again.
      for (const definition of this.#definitions) await this.#db.prepare(definition).run().catch(() => {});
      return (await this.#db.prepare(sql).bind(...params).all()).results;
    }
  }
}

export class Idempotency {
  #table;

  constructor(db) {
    this.#table = new OwnTable(
      db,
      "CREATE TABLE IF NOT EXISTS _idempotency_keys (scope TEXT NOT NULL, key TEXT NOT NULL, "
        + "processed_at INTEGER NOT NULL, expires_at INTEGER, PRIMARY KEY (scope, key))",
    );
  }

  /** True the first time, and again once `ttlSeconds` have passed. */
  async claim(key, options) {
    const { scope, ttlSeconds } = options ?? {};
    if (typeof key !== "string" || key.length < 1 || key.length > KEY_MAX_CHARS) {
      throw new TypeError(`ctx.idempotency.claim needs a key of 1 to ${KEY_MAX_CHARS} characters`);
    }
    if (ttlSeconds != null && !(Number.isFinite(ttlSeconds) && ttlSeconds > 0)) {
      throw new TypeError("ctx.idempotency.claim: ttlSeconds must be a number above 0");
    }
    const now = Date.now();
    const expires = ttlSeconds == null ? null : now + Math.round(ttlSeconds * 1000);
    const rows = await this.#table.run(
      "INSERT INTO _idempotency_keys (scope, key, processed_at, expires_at) VALUES (?1, ?2, ?3, ?4) "
        + "ON CONFLICT (scope, key) DO UPDATE SET processed_at = ?3, expires_at = ?4 "
        + "WHERE expires_at IS NOT NULL AND expires_at <= ?3 RETURNING 1 AS won",
      String(scope ?? "default"), key, now, expires,
    );
    return rows.length === 1;
  }
}

// The names, codes and statuses are those by which functions tell errors apart.
function refused(message, name = "KvKeyInvalidError", code = "bad_request", status = 400) {
  return Object.assign(new TypeError(`ctx.kv: ${message}`), { name, code, status });
}

function checkKey(key) {
  if (typeof key !== "string" || key === "" || key.length > 512) {
    throw refused("a key is a text of 1 to 512 characters");
  }
  return key;
}

function encode(value) {
  const text = JSON.stringify(value);
  if (text === undefined) throw refused("this value cannot be written as JSON");
  if (new TextEncoder().encode(text).length > VALUE_MAX_BYTES) {
    throw refused(`a value may have ${VALUE_MAX_BYTES} bytes`, "KvValueTooLargeError", "KV_VALUE_TOO_LARGE", 413);
  }
  return text;
}

// Null is for ever.
function expiry(seconds = DEFAULT_TTL_S) {
  if (seconds === null) return NEVER;
  if (!(Number.isFinite(seconds) && seconds > 0)) throw refused("a time to live is a number above 0, or null");
  return Math.min(Date.now() + Math.round(seconds * 1000), NEVER);
}

function secondsOf(options) {
  if (typeof options === "number") return options;
  return options?.ttl === undefined ? options?.ttlSeconds : options.ttl;
}

const NEVER = Number.MAX_SAFE_INTEGER;
const LIVE = "expires_at > ?1";
const INSERT = "INSERT INTO _kv (key, value, expires_at, ttl_ms) VALUES (?2, ?3, ?4, ?4 - ?1) "
  + "ON CONFLICT (key) DO UPDATE SET";
const AGAIN = `expires_at = min(${NEVER}, coalesce(?1 + ttl_ms, expires_at))`;
const UPSERT = `${INSERT} value = ?3, expires_at = ?4, ttl_ms = ?4 - ?1 WHERE `;

export class KeyValue {
  #table;

  constructor(db) {
    this.#table = new OwnTable(
      db,
      "CREATE TABLE IF NOT EXISTS _kv "
        + "(key TEXT PRIMARY KEY, value TEXT NOT NULL, expires_at INTEGER NOT NULL, ttl_ms INTEGER)",
      "ALTER TABLE _kv ADD COLUMN ttl_ms INTEGER",
    );
  }

  /** With `touch`, its time to live begins again. */
  async get(key, options) {
    const found = `WHERE ${LIVE} AND key = ?2`;
    const [row] = await this.#table.run(
      options?.touch ? `UPDATE _kv SET ${AGAIN} ${found} RETURNING value` : `SELECT value FROM _kv ${found}`,
      Date.now(), checkKey(key),
    );
    return row === undefined ? null : JSON.parse(row.value);
  }

  async set(key, value, options) {
    await this.#table.run(
      `${UPSERT} true`,
      Date.now(), checkKey(key), encode(value), expiry(secondsOf(options)),
    );
    return true;
  }

  setex(key, value, ttl) {
    return this.set(key, value, { ttl });
  }

  /** True when the key was free. */
  async setnx(key, value, options) {
    const rows = await this.#table.run(
      `${UPSERT} _kv.expires_at <= ?1 RETURNING 1 AS won`,
      Date.now(), checkKey(key), encode(value), expiry(secondsOf(options)),
    );
    return rows.length === 1;
  }

  /**
   * Sets `next` when the value is `expected` (null: when the key is free); whether it did. The time to live of the old
   * value goes on.
   */
  async cas(key, expected, next, options) {
    if (expected === null || expected === undefined) return this.setnx(key, next, options);
    const seconds = secondsOf(options);
    const rows = await this.#table.run(
      "UPDATE _kv SET value = ?3, expires_at = coalesce(?4, expires_at), ttl_ms = coalesce(?4 - ?1, ttl_ms) "
        + `WHERE ${LIVE} AND key = ?2 AND value = ?5 RETURNING 1 AS won`,
      Date.now(), checkKey(key), encode(next), seconds === undefined ? null : expiry(seconds), encode(expected),
    );
    return rows.length === 1;
  }

  /** The new number; a key that is free counts from 0. */
  async incr(key, by = 1) {
    if (!Number.isSafeInteger(by)) throw refused("the step must be a whole number");
    const [row] = await this.#table.run(
      `${INSERT} value = CASE WHEN _kv.expires_at <= ?1 THEN ?3 `
        + "ELSE CAST(CAST(_kv.value AS INTEGER) + CAST(?5 AS INTEGER) AS TEXT) END, "
        + "expires_at = CASE WHEN _kv.expires_at <= ?1 THEN ?4 ELSE _kv.expires_at END, "
        + "ttl_ms = CASE WHEN _kv.expires_at <= ?1 THEN ?4 - ?1 ELSE _kv.ttl_ms END "
        + "WHERE _kv.expires_at <= ?1 OR _kv.value NOT GLOB '*[^0-9-]*' RETURNING value",
      Date.now(), checkKey(key), String(by), expiry(), by,
    );
    if (row === undefined) throw refused(`the value of ${key} is not a whole number`);
    return Number(row.value);
  }

  decr(key, by = 1) {
    return this.incr(key, -by);
  }

  /** Whether there was such a key. */
  async delete(key) {
    const rows = await this.#table.run(
      `DELETE FROM _kv WHERE key = ?2 RETURNING ${LIVE} AS live`, Date.now(), checkKey(key),
    );
    return rows.some((row) => row.live === 1);
  }

  /** How many keys went: 1 or 0. */
  async del(key) {
    return Number(await this.delete(key));
  }

  async #expiresAt(key) {
    const sql = `SELECT expires_at FROM _kv WHERE ${LIVE} AND key = ?2`;
    const [row] = await this.#table.run(sql, Date.now(), checkKey(key));
    return row?.expires_at ?? null;
  }

  async exists(key) {
    return (await this.#expiresAt(key)) !== null;
  }

  /** Seconds left; null when there is no such key, and when it lives for ever. */
  async ttl(key) {
    const at = await this.#expiresAt(key);
    return at === null || at === NEVER ? null : Math.ceil((at - Date.now()) / 1000);
  }

  /** Whether there was such a key. Null seconds are for ever, 0 are the end of it. */
  async expire(key, seconds) {
    const rows = await this.#table.run(
      `UPDATE _kv SET expires_at = ?3, ttl_ms = ?3 - ?1 WHERE ${LIVE} AND key = ?2 RETURNING 1 AS won`,
      Date.now(), checkKey(key), seconds === 0 ? Date.now() : expiry(seconds),
    );
    return rows.length === 1;
  }

  mget(...keys) {
    return Promise.all(keys.flat().map((key) => this.get(key)));
  }

  async mset(values, options) {
    await Promise.all(Object.entries(values).map(([key, value]) => this.set(key, value, options)));
    return true;
  }

  expose = noRules("expose");
  unexpose = noRules("unexpose");
  listRules = noRules("listRules");
}

function noRules(name) {
  return () => {
    throw new Error(`ctx.kv.${name} is not available: keys are not reachable from outside functions here`);
  };
}
