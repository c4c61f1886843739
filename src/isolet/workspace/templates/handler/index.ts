async function handler(request: Request, env: Env): Promise<Response> {
  const body: unknown = await request.json().catch(() => ({}));
  return new Response(JSON.stringify({ ok: true, received: body }), {
    headers: { "Content-Type": "application/json" },
  });
}
