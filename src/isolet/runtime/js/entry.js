// The main module of every instance. The host describes each event by an envelope `{id, event, context}`, which arrives
// as `request.cf`; the event's own module calls the function's handler, and turns what goes wrong into a reply that the
// host can tell from the function's own.

// Before the function's module, which `events.js` loads.
import "./console.js";
import "./context.js";
import "./outgoing.js";
import "./sockets.js";
import * as modules from "./events.js";
import { failure } from "./failure.js";
import { requireHandler } from "./handlers.js";

// Looked up faster than in the module itself.
const events = { __proto__: null, ...modules };

requireHandler();

export default {
  fetch(request, env, ctx) {
    const call = request.cf ?? {};
    // The function can hide the envelope from itself; then all that arrives is a call.
    const event = events[call.event ?? "fetch"];
    if (event === undefined) return failure(new TypeError("the host sent an event that the wrapper does not know"));
    return event(call, request, env, ctx);
  },
};
