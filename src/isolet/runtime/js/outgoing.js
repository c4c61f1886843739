// Tells the host of the requests that calls make: of each when it begins, and of its answer. It is loaded before the
// function's module, so that `fetch` is ours from the first line.
//
// A line is US + JSON: [call id, number, ms, method, host, path] as it begins, [call id, number, ms, status] at its end.

import { calls, writeLine } from "./console.js";

// Of a call; the host keeps no more.
const MAX_REQUESTS = 100;
const MAX_TEXT = 1_000;
const send = globalThis.fetch;
const now = Date.now;
const { Request, URL } = globalThis;

/** The number of the request in its call; 0 when it is not told. */
function begin(call, input, init) {
  try {
    const asked = input instanceof Request ? input : undefined;
    const { host, pathname } = new URL(asked?.url ?? input);
    const method = `${init?.method ?? asked?.method ?? "GET"}`.toUpperCase();
    const number = (call.requests ?? 0) + 1;
    if (number > MAX_REQUESTS || host.endsWith(".isolet.invalid")) return 0;
    call.requests = number;
    const line = [call.id, number, now(), method.slice(0, 20), host.slice(0, MAX_TEXT), pathname.slice(0, MAX_TEXT)];
    writeLine("\x1f", line);
    return number;
  } catch {
    return 0;
  }
}

function end(call, number, status) {
  if (number !== 0) writeLine("\x1f", [call.id, number, now(), status]);
}

globalThis.fetch = {
  fetch(...request) {
    const call = calls.getStore();
    if (call?.id === undefined) return send(...request);
    const number = begin(call, ...request);
    // What is returned is what follows, so that a failure that nobody handles is told as one.
    return send(...request).then(
      (reply) => {
        end(call, number, reply.status);
        return reply;
      },
      (error) => {
        end(call, number, null);
        throw error;
      },
    );
  },
}.fetch;
