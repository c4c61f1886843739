// A due time of a schedule, as Workers have it: `scheduled(controller, env, ctx)`. The request's body is JSON
// `{cron, scheduled_time_ms}`. The reply is `{"outcome": "ok", "no_retry"}` once all that the handler gave to `waitUntil`
// has settled; a failure is reported as one of a call is, with `outcome` and `no_retry` in its report. A function without
// the handler gets a POST with the JSON in `post`, if there is one, and fails by its status.

import { calls, Response, stringify } from "../console.js";
import { contextOf } from "../context.js";
import { execution } from "../execution.js";
import { failure, noHandler } from "../failure.js";
import { memberHandler } from "../handlers.js";
import fetchEvent from "./fetch.js";

const handler = memberHandler("scheduled");

class ScheduledController {
  type = "scheduled";

  constructor(cron, scheduledTime, noRetry) {
    this.cron = cron;
    this.scheduledTime = scheduledTime;
    // Bound, so that it can be taken out of the controller.
    this.noRetry = noRetry;
  }
}

/** The first failure among promises, `undefined` when all went well. Promises may be added meanwhile. */
async function firstFailure(promises) {
  let first;
  for (const promise of promises) {
    try {
      await promise;
    } catch (error) {
      first ??= { error };
    }
  }
  return first;
}

async function run(request, env, ctx, store) {
  let noRetry = false;
  try {
    const { cron, scheduled_time_ms: time } = await request.json();
    const controller = new ScheduledController(cron, time, () => { noRetry = true; });
    const promises = [];
    const control = store.control = execution(ctx, (promise) => promises.push(promise));
    // A function of its own, so that what it throws at once counts like a promise that fails.
    promises.push((async () => handler(controller, contextOf(env, control, undefined, store.id), control))());
    const failed = await firstFailure(promises);
    if (failed !== undefined) throw failed.error;
    return new Response(stringify({ outcome: "ok", no_retry: noRetry }));
  } catch (error) {
    return failure(error, { outcome: "error", no_retry: noRetry });
  }
}

function scheduled(call, request, env, ctx) {
  const store = { id: call.id, lines: 0, ctx, control: undefined };
  return calls.run(store, run, request, env, ctx, store);
}

async function posted(call, request, env, ctx) {
  const { post } = await request.json();
  if (!post) return noHandler();
  const body = stringify(post);
  const headers = { "content-type": "application/json", "x-trigger-type": "cron" };
  const reply = await fetchEvent(call, new Request(request.url, { method: "POST", headers, body }), env, ctx);
  if (reply.headers.has("x-isolet-error")) return reply;
  let error = reply.status < 400 ? undefined : new Error(`the function answered ${reply.status}`);
  try {
    await reply.body?.cancel();
  } catch (broken) {
    // Of a body that has failed already.
    error ??= broken;
  }
  if (error === undefined) return new Response(stringify({ outcome: "ok", no_retry: false }));
  return failure(error, { outcome: "error", no_retry: false });
}

export default handler === undefined ? posted : scheduled;
