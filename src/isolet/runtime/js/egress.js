// The egress worker: everything a project sends to the world passes here; the network service behind `fetch` and
// `connect` resolves the name and refuses addresses that are not allowed, at connect time. Why it failed, workerd does
// not tell a worker, so the host is asked, once it has failed.

import { count, refusedLately, tooMany } from "./gate.js";

const TEXT = { "content-type": "text/plain; charset=utf-8" };
// Whom the wrapper of `connect` asks: no name that anybody can have.
const EXPLAINS = "reason.isolet.invalid";

export default {
  async fetch(request, env) {
    const { host, hostname, searchParams } = new URL(request.url);
    if (hostname === EXPLAINS) return explain(searchParams.get("host") ?? "", env);
    try {
      return await fetch(request);
    } catch (error) {
      const reason = await reasonFor(hostname, env);
      const why = reason?.text ?? ownWords(error, request.url);
      // Callbacks leave here too: the host tells by this header that no receiver answered.
      const headers = { ...TEXT, "x-isolet-egress": reason?.refused ? "refused" : "failed" };
      return new Response(`cannot fetch ${host}: ${why}\n`, { status: reason?.refused ? 403 : 502, headers });
    }
  },

  connect(socket, env, ctx) {
    const work = count(socket, env);
    // It goes on when the function has left, so that what it had open is counted no longer.
    ctx.waitUntil(work);
    return work;
  },
};

/** Why a `connect` to a host failed: a text, or 404 when that is not known. */
async function explain(host, env) {
  const reason = await reasonFor(host, env);
  const text = reason?.text ?? (refusedLately() ? tooMany() : null);
  return text === null ? new Response(null, { status: 404 }) : new Response(text, { headers: TEXT });
}

/** `{ refused, text }`; nothing when the host sees no reason in the address. */
async function reasonFor(hostname, env) {
  try {
    const reply = await env.HOST.fetch(`http://host/reason?host=${encodeURIComponent(hostname)}`);
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
