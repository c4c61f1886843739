// The handler that Restate calls, equal to the function of the benchmark, and a count of the calls that it answered.
import { createServer } from "node:http";
import * as restate from "@restatedev/restate-sdk";

// The SDK wants it, and Node.js has it from 22 on.
Promise.withResolvers ??= () => {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
};

let done = 0;
const bench = restate.service({
  name: "Bench",
  handlers: { run: async (ctx, { n }) => { done += 1; return n + 1; } },
});
restate.serve({ services: [bench], port: Number(process.argv[2]) });
createServer((_, reply) => reply.end(String(done))).listen(Number(process.argv[3]), "127.0.0.1");
