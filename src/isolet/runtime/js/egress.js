// The way out. Every request of a function to the world passes here; the network service behind `fetch` resolves the
// name and refuses addresses that are not allowed, at connect time.

export default {
  async fetch(request) {
    try {
      return await fetch(request);
    } catch (error) {
      const host = new URL(request.url).host;
      const text = String(error?.message ?? error);
      const refused = text.includes("restrictPeers") || text.includes("not allowed") || text.includes("blocked");
      return new Response(
        refused
          ? `cannot fetch ${host}: the address is refused, functions may reach public addresses only\n`
          : `cannot fetch ${host}: ${text}\n`,
        { status: refused ? 403 : 502, headers: { "content-type": "text/plain; charset=utf-8", "x-isolet-egress": refused ? "refused" : "failed" } },
      );
    }
  },
};
