// Runs by a schedule, and shows on a GET what it saw. A real one would fetch something here.

export default {
  async scheduled(controller, env) {
    const beats = (await env.KV.get("beats", "json")) ?? { count: 0 };
    beats.count += 1;
    beats.last = new Date(controller.scheduledTime).toISOString();
    await env.KV.put("beats", JSON.stringify(beats));
    console.log(`${env.TARGET} is well`);
  },

  async fetch(request, env) {
    return Response.json((await env.KV.get("beats", "json")) ?? { count: 0 });
  },
};
