// Stands for `cloudflare:sockets` in a function: its own `connect`, whose `opened` says why it failed where the host
// knows. The runtime says no more than that it cannot connect.

// An import of that name would be this module again.
const runtime = process.getBuiltinModule("cloudflare:sockets");
export const { internalNewHttpClient } = runtime;

const ask = globalThis.fetch;

async function explained(error, address) {
  let text = "";
  try {
    const reply = await ask(`http://reason.isolet.invalid/?host=${encodeURIComponent(hostOf(address))}`);
    text = reply.status === 404 ? "" : (await reply.text()).trim().replace(/^cannot fetch: /, "");
  } catch {
    // The runtime's own words have to do.
  }
  throw text ? new Error(`${error.message}: ${text}`, { cause: error }) : error;
}

function hostOf(address) {
  if (typeof address === "object") return String(address.hostname);
  return String(address).replace(/:[^:\]]*$/, "");
}

export function connect(address, options) {
  const socket = runtime.connect(address, options);
  const { opened } = socket;
  let told;
  // Made when it is first asked for, so that nobody hears of a failure that the function does not look at.
  Object.defineProperty(socket, "opened", {
    get: () => (told ??= opened.catch((error) => explained(error, address))),
    configurable: true,
    enumerable: true,
  });
  return socket;
}
