export default {
  async scheduled(controller, env, ctx) {
    const runs = Number((await env.KV.get("runs")) ?? 0) + 1;
    await env.KV.put("runs", String(runs));
    console.log(`run ${runs} of ${controller.cron}`);
  },
};
