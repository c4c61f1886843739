const VALUE = "x".repeat(100);
const KEYS = 1000;
let count = 0;

const operations = {
  async prepare(env) {
    await env.KV.put("k", VALUE);
    await env.DB.exec("CREATE TABLE items (id INTEGER PRIMARY KEY, v TEXT)");
    await env.DB.exec("CREATE TABLE log (id INTEGER PRIMARY KEY, v TEXT)");
    await env.DB.batch(
      Array.from({ length: KEYS }, (_, id) => env.DB.prepare("INSERT INTO items VALUES (?, ?)").bind(id, VALUE)),
    );
  },
  get: async (env) => (await env.KV.get("k")) === VALUE,
  put: (env) => env.KV.put(`p${count++ % KEYS}`, VALUE),
  select: async (env) =>
    (await env.DB.prepare("SELECT v FROM items WHERE id = ?").bind(count++ % KEYS).first("v")) === VALUE,
  insert: (env) => env.DB.prepare("INSERT INTO log (v) VALUES (?)").bind(VALUE).run(),
};

export default {
  async fetch(request, env) {
    const { operation } = await request.json();
    if ((await operations[operation](env)) === false) return new Response("wrong", { status: 500 });
    return Response.json("done");
  },
};
