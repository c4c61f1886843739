async function handler(request, env) {
  const body = await request.json().catch(() => ({}));
  await env.KV.put("last-request", JSON.stringify(body));
  if (body.email) {
    await env.DB.prepare("INSERT INTO customers (email) VALUES (?)").bind(body.email).run();
  }
  const { results } = await env.DB.prepare(
    "SELECT id, email FROM customers ORDER BY created_at DESC, id DESC LIMIT 5",
  ).all();
  return Response.json({ recentCustomers: results });
}
