// The runtime's own D1, with a limit to what the project stores: a transaction that leaves more than that is undone.

import D1, { D1Database as Database } from "./d1.js";
import { fits, refresh, refusal, report } from "./room.js";

let used = 0;
let refused = false;

export class D1Database extends Database {
  run(...call) {
    const { storage } = this.ctx;
    const before = storage.sql.databaseSize;
    const answer = storage.transactionSync(() => {
      const result = super.run(...call);
      used = storage.sql.databaseSize;
      refused = used > before && !fits(used);
      if (refused) {
        used = before;
        throw new Error(refusal());
      }
      return result;
    });
    return answer;
  }
}

export default class extends D1 {
  async query(call) {
    return this.#minded(() => super.query(call));
  }

  async fetch(request) {
    return this.#minded(() => super.fetch(request));
  }

  async #minded(work) {
    // Room may have been made since the last refusal.
    await refresh(this.env, "sql", used, refused);
    try {
      return await work();
    } finally {
      this.ctx.waitUntil(report(this.env, "sql", used));
    }
  }
}
