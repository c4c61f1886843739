// The way out. Every request of a function to the world passes here; the network service behind `fetch` resolves the
// name and refuses addresses that are not allowed, at connect time.

export default {
  async fetch(request) {
    try {
      return await fetch(request);
    } catch (error) {
      const { host, hostname } = new URL(request.url);
      const text = String(error?.message ?? error);
      // workerd tells a refused address, and a name that does not resolve, as an internal error of its own.
      const refused = text.includes("restrictPeers") || text.includes("blocked") || text.startsWith("internal error");
      const literal = /^(\[.*\]|\d+\.\d+\.\d+\.\d+)$/.test(hostname);
      const why = literal ? "the address is refused" : "the name has no address, or one that is refused";
      return new Response(
        refused
          ? `cannot fetch ${host}: ${why}, functions may reach public addresses only\n`
          : `cannot fetch ${host}: ${text}\n`,
        {
          status: refused ? 403 : 502,
          headers: { "content-type": "text/plain; charset=utf-8", "x-isolet-egress": refused ? "refused" : "failed" },
        },
      );
    }
  },
};
