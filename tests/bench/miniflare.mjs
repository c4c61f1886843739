// Serves a function in miniflare: `node miniflare.mjs FUNCTION_FILE DATA_FOLDER`. Prints its URL once it answers.

import { readFileSync } from "node:fs";
import { Miniflare } from "miniflare";

const [file, folder] = process.argv.slice(2);
const miniflare = new Miniflare({
  modules: true,
  script: readFileSync(file, "utf8"),
  kvNamespaces: ["KV"],
  d1Databases: ["DB"],
  kvPersist: `${folder}/kv`,
  d1Persist: `${folder}/d1`,
  host: "127.0.0.1",
  port: 0,
});
console.log(String(await miniflare.ready));
process.on("SIGTERM", async () => {
  await miniflare.dispose();
  process.exit(0);
});
