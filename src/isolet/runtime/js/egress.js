// The way out. Every request of a function to the world passes here; the network service behind `fetch` resolves the
// name and refuses addresses that are not allowed, at connect time.

const WHY = "functions may reach public addresses only";

// workerd tells a refusal, and a name that does not resolve, as an internal error with a reference into its own log.
const HIDDEN = "internal error";

/** Whether a URL's host is an address, or this machine, so that no name had to be resolved. */
function isAddress(hostname) {
  return hostname.startsWith("[") || /^[\d.]+$/.test(hostname) || /^(.+\.)?localhost\.?$/.test(hostname);
}

function explain(url, error) {
  const text = String(error?.message ?? error);
  if (!text.startsWith(HIDDEN)) return { status: 502, text };
  // A certificate that is not trusted hides in the same words, but only behind an address that is allowed.
  if (url.protocol === "https:") {
    return { status: 403, text: `the address is refused, its name is unknown or its certificate is not trusted; ${WHY}` };
  }
  if (isAddress(url.hostname)) return { status: 403, text: `the address is refused, ${WHY}` };
  return { status: 403, text: `its name is unknown, or its address is refused: ${WHY}` };
}

export default {
  async fetch(request) {
    try {
      return await fetch(request);
    } catch (error) {
      const url = new URL(request.url);
      const { status, text } = explain(url, error);
      return new Response(`cannot fetch ${url.host}: ${text}\n`, {
        status,
        headers: { "content-type": "text/plain; charset=utf-8" },
      });
    }
  },
};
