export default {
  async scheduled(controller: ScheduledController, env: Env, ctx: ExecutionContext): Promise<void> {
    const runs = Number((await env.KV.get("runs")) ?? 0) + 1;
    await env.KV.put("runs", String(runs));
    console.log(`run ${runs} of ${controller.cron}`);
  },
};
