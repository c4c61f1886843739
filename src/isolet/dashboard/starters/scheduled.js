export default {
  async fetch() {
    return new Response("This function runs by the clock, too: see Triggers.");
  },

  async scheduled(controller, env, ctx) {
    console.log("ran at", new Date(controller.scheduledTime).toISOString());
  },
};
