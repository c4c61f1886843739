// The runtime's own D1, with a limit to what the project stores: a transaction that leaves more than that is undone.

import D1, { D1Database as Database } from "./d1.js";
import { roomOf, storeOf } from "./room.js";

// The databases whose last transaction was refused.
const refused = new Set();

export class D1Database extends Database {
  run(...call) {
    const { id, storage } = this.ctx;
    const room = roomOf("sql", id);
    const before = storage.sql.databaseSize;
    const answer = storage.transactionSync(() => {
      const result = super.run(...call);
      const after = storage.sql.databaseSize;
      if (after > before && !room.fits(0, after)) {
        room.used = before;
        refused.add(room);
        throw new Error(room.refusal);
      }
      room.used = after;
      refused.delete(room);
      return result;
    });
    return answer;
  }
}

export default class extends D1 {
  async fetch(request) {
    const database = storeOf(request);
    const { ctx, env } = this;
    // Where the runtime's own looks for the name.
    this.ctx = { props: { database }, waitUntil: (work) => ctx.waitUntil(work) };
    const room = roomOf("sql", env.DATABASE.idFromName(database));
    // Room may have been made since the last refusal.
    await room.refresh(env, refused.has(room));
    try {
      return await super.fetch(request);
    } finally {
      ctx.waitUntil(room.report(env));
    }
  }
}
