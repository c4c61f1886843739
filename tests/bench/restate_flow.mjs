// A workflow of five steps as Restate runs it: each is recorded before the next begins. It counts those that ended.
import { createServer } from "node:http";
import * as restate from "@restatedev/restate-sdk";

// The SDK wants it, and Node.js has it from 22 on.
Promise.withResolvers ??= () => {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
};

const STEPS = 5;
let done = 0;
const bench = restate.service({
  name: "Bench",
  handlers: {
    run: async (ctx, { n }) => {
      for (let step = 0; step < STEPS; step += 1) n = await ctx.run(`step ${step}`, async () => n + 1);
      done += 1;
      return n;
    },
  },
});
restate.serve({ services: [bench], port: Number(process.argv[2]) });
createServer((_, reply) => reply.end(String(done))).listen(Number(process.argv[3]), "127.0.0.1");
