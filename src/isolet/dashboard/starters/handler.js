async function handler(request, env) {
  const body = await request.text();
  const input = body ? JSON.parse(body) : {};
  return new Response(JSON.stringify({ received: input }), {
    headers: { "Content-Type": "application/json" },
  });
}
