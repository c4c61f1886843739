export default {
  async fetch(request, env) {
    if (request.method !== "POST") return new Response("Send events with POST", { status: 405 });
    if (env.WEBHOOK_TOKEN && request.headers.get("x-webhook-token") !== env.WEBHOOK_TOKEN) {
      return new Response("The token is wrong", { status: 401 });
    }
    const event = await request.json();
    console.log("received", event.type ?? "an event");
    return Response.json({ received: true });
  },
};
