// Decides how a workflow goes on.
interface Asked {
  available_edges?: string[];
  execution_context?: { vars?: { customer_tier?: string } };
}

async function handler(request: Request, env: Env): Promise<Response> {
  const body = (await request.json()) as Asked;
  const availableEdges = body.available_edges ?? [];
  const tier = body.execution_context?.vars?.customer_tier ?? "";
  let nextEdge = availableEdges[0] ?? "default";
  if (tier.toLowerCase() === "vip" && availableEdges.includes("vip")) {
    nextEdge = "vip";
  }
  return Response.json({ next_edge: nextEdge });
}
