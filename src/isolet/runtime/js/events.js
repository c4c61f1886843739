// The events that the host may send, by the names that `runtime/envelope.py` gives them. Each gets the envelope, the
// request, `env` and `ctx`, and gives a Response.

export { default as fetch } from "./events/fetch.js";
export { default as probe } from "./events/probe.js";
export { default as scheduled } from "./events/scheduled.js";
