// Decides how a workflow goes on.
async function handler(request, env) {
  const body = await request.json();
  const availableEdges = body.available_edges || [];
  const vars = body.execution_context?.vars || {};
  let nextEdge = availableEdges[0] || "default";
  if ((vars.customer_tier || "").toLowerCase() === "vip" && availableEdges.includes("vip")) {
    nextEdge = "vip";
  }
  return Response.json({ next_edge: nextEdge });
}
