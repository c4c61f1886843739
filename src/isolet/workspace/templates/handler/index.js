async function handler(request, env) {
  const body = await request.json().catch(() => ({}));
  return new Response(JSON.stringify({ ok: true, received: body }), {
    headers: { "Content-Type": "application/json" },
  });
}
