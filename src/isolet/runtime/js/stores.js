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

  async query(sql, params = []) {
    const numbered = String(sql).replace(TOKENS, (text, number) => (number === undefined ? text : `?${number}`));
    const { results, meta } = await this.#db.prepare(numbered).bind(...params.map(asParameter)).all();
    return { rows: results, rowCount: results.length || meta?.changes || 0 };
  }
}

// A table of the platform's own, made when it is first missed.
class OwnTable {
  #db;
  #definition;

  constructor(db, definition) {
    this.#db = db;
    this.#definition = definition;
  }

  async run(sql, ...params) {
    try {
      return (await this.#db.prepare(sql).bind(...params).all()).results;
    } catch (error) {
      if (!String(error).includes("no such table")) throw error;
      await this.#db.prepare(this.#definition).run();
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
  async claim(key, { scope = "default", ttlSeconds } = {}) {
    if (typeof key !== "string" || key.length < 1 || key.length > KEY_MAX_CHARS) {
      throw new TypeError(`ctx.idempotency.claim needs a key of 1 to ${KEY_MAX_CHARS} characters`);
    }
    if (ttlSeconds !== undefined && !(Number.isFinite(ttlSeconds) && ttlSeconds > 0)) {
      throw new TypeError("ctx.idempotency.claim: ttlSeconds must be a number above 0");
    }
    const now = Date.now();
    const expires = ttlSeconds === undefined ? null : now + Math.round(ttlSeconds * 1000);
    const rows = await this.#table.run(
      "INSERT INTO _idempotency_keys (scope, key, processed_at, expires_at) VALUES (?1, ?2, ?3, ?4) "
        + "ON CONFLICT (scope, key) DO UPDATE SET processed_at = ?3, expires_at = ?4 "
        + "WHERE expires_at IS NOT NULL AND expires_at <= ?3 RETURNING 1 AS won",
      String(scope), key, now, expires,
    );
    return rows.length === 1;
  }
}

function checkKey(key) {
  if (typeof key !== "string" || key === "" || key.length > 512) {
    throw new TypeError("ctx.kv: a key is a text of 1 to 512 characters");
  }
  return key;
}

function encode(value) {
  const text = JSON.stringify(value);
  if (text === undefined) throw new TypeError("ctx.kv: this value cannot be written as JSON");
  if (new TextEncoder().encode(text).length > VALUE_MAX_BYTES) {
    throw new RangeError(`ctx.kv: a value may have ${VALUE_MAX_BYTES} bytes`);
  }
  return text;
}

function expiry(seconds = DEFAULT_TTL_S) {
  if (!(Number.isFinite(seconds) && seconds > 0)) throw new TypeError("ctx.kv: a time to live is a number above 0");
  return Date.now() + Math.round(seconds * 1000);
}

const secondsOf = (options) => (typeof options === "number" ? options : options?.ttl ?? options?.ttlSeconds);
const LIVE = "expires_at > ?1";
const UPSERT = "INSERT INTO _kv (key, value, expires_at) VALUES (?2, ?3, ?4) ON CONFLICT (key) DO UPDATE SET ";

export class KeyValue {
  #table;

  constructor(db) {
    this.#table = new OwnTable(
      db,
      "CREATE TABLE IF NOT EXISTS _kv (key TEXT PRIMARY KEY, value TEXT NOT NULL, expires_at INTEGER NOT NULL)",
    );
  }

  async get(key) {
    const [row] = await this.#table.run(`SELECT value FROM _kv WHERE ${LIVE} AND key = ?2`, Date.now(), checkKey(key));
    return row === undefined ? null : JSON.parse(row.value);
  }

  async set(key, value, options) {
    await this.#table.run(
      `${UPSERT} value = ?3, expires_at = ?4 WHERE ?1 = ?1`,
      Date.now(), checkKey(key), encode(value), expiry(secondsOf(options)),
    );
    return true;
  }

  setex(key, seconds, value) {
    return this.set(key, value, seconds);
  }

  /** True when the key was free. */
  async setnx(key, value, options) {
    const rows = await this.#table.run(
      `${UPSERT} value = ?3, expires_at = ?4 WHERE _kv.expires_at <= ?1 RETURNING 1 AS won`,
      Date.now(), checkKey(key), encode(value), expiry(secondsOf(options)),
    );
    return rows.length === 1;
  }

  /** Sets `next` when the value is `expected` (null: when the key is free); whether it did. */
  async cas(key, expected, next, options) {
    if (expected === null || expected === undefined) return this.setnx(key, next, options);
    const rows = await this.#table.run(
      `UPDATE _kv SET value = ?3, expires_at = ?4 WHERE ${LIVE} AND key = ?2 AND value = ?5 RETURNING 1 AS won`,
      Date.now(), checkKey(key), encode(next), expiry(secondsOf(options)), encode(expected),
    );
    return rows.length === 1;
  }

  /** The new number; a key that is free counts from 0. */
  async incr(key, by = 1) {
    if (!Number.isSafeInteger(by)) throw new TypeError("ctx.kv: the step must be a whole number");
    const [row] = await this.#table.run(
      `${UPSERT} value = CASE WHEN _kv.expires_at <= ?1 THEN ?3 ELSE CAST(CAST(_kv.value AS INTEGER) + CAST(?5 AS INTEGER) AS TEXT) END, `
        + "expires_at = CASE WHEN _kv.expires_at <= ?1 THEN ?4 ELSE _kv.expires_at END "
        + "WHERE _kv.expires_at <= ?1 OR _kv.value NOT GLOB '*[^0-9-]*' RETURNING value",
      Date.now(), checkKey(key), String(by), expiry(), by,
    );
    if (row === undefined) throw new TypeError(`ctx.kv: the value of ${key} is not a whole number`);
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

  del(key) {
    return this.delete(key);
  }

  async exists(key) {
    return (await this.ttl(key)) >= 0;
  }

  /** Seconds left; -2 when there is no such key. */
  async ttl(key) {
    const now = Date.now();
    const [row] = await this.#table.run(`SELECT expires_at FROM _kv WHERE ${LIVE} AND key = ?2`, now, checkKey(key));
    return row === undefined ? -2 : Math.ceil((row.expires_at - now) / 1000);
  }

  /** Whether there was such a key. */
  async expire(key, seconds) {
    const rows = await this.#table.run(
      `UPDATE _kv SET expires_at = ?3 WHERE ${LIVE} AND key = ?2 RETURNING 1 AS won`,
      Date.now(), checkKey(key), expiry(seconds),
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
