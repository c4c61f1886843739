// The egress worker: everything a function sends to the world passes here; the network service behind `fetch` resolves the
// name and refuses addresses that are not allowed, at connect time. Why it failed, workerd does not tell a worker, so the
// host is asked, once it has failed. TCP connections pass through by a compatibility flag, under the same rules.

const TEXT = { "content-type": "text/plain; charset=utf-8" };

export default {
  async fetch(request, env) {
    try {
      return await fetch(request);
    } catch (error) {
      const { host, hostname } = new URL(request.url);
      const reason = await reasonFor(hostname, env);
      const why = reason?.text ?? ownWords(error, request.url);
      // Callbacks leave here too: the host tells by this header that no receiver answered.
      const headers = { ...TEXT, "x-isolet-egress": reason?.refused ? "refused" : "failed" };
      return new Response(`cannot fetch ${host}: ${why}\n`, { status: reason?.refused ? 403 : 502, headers });
    }
  },
};

/** `{ refused, text }`; nothing when the host sees no reason in the address. */
async function reasonFor(hostname, env) {
  try {
    const reply = await env.REASONS.fetch(`http://reasons/?host=${encodeURIComponent(hostname)}`);
    return await reply.json();
  } catch {
    return null;
  }
}

function ownWords(error, url) {
  const text = String(error?.message ?? error);
  if (!text.startsWith("internal error")) return text;
  const orCertificate = url.startsWith("https:") ? ", or its certificate is not trusted" : "";
  return `the connection could not be made${orCertificate}`;
}
