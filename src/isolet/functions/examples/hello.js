// The example that `isolet serve --example` deploys. Change it, deploy it again, call it.

async function handler(request, env) {
  const body = await request.json().catch(() => ({}));
  console.log("saying hello", { to: body.name ?? "world" });
  return new Response(JSON.stringify({ message: `Hello, ${body.name ?? "world"}!` }), {
    headers: { "Content-Type": "application/json" },
  });
}
