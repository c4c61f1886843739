// Stands for `cloudflare:workers` in a function: its own `waitUntil`, which is that of the call's `ctx`. The runtime's own
// tells nobody of a promise that fails, nor the host of one that has not settled.

import { calls } from "./isolet/console.js";

// An import of that name would be this module again.
const runtime = process.getBuiltinModule("cloudflare:workers");
export const {
  DurableObject, RpcPromise, RpcProperty, RpcStub, RpcTarget, ServiceStub, WorkerEntrypoint, WorkflowEntrypoint,
  abortIsolate, cache, env, exports, restore, tracing, withEnv, withEnvAndExports, withExports,
} = runtime;

export function waitUntil(promise) {
  (calls.getStore()?.control ?? runtime).waitUntil(promise);
}
