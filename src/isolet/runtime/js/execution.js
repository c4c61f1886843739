// The `ctx` of handlers, and the count of what calls leave behind.

import { emit } from "./console.js";

// Promises given to waitUntil that have not settled: the host lets an instance finish them before it stops.
let unsettled = 0;

export function waiting() {
  return unsettled;
}

/** `onPromise` gets each promise that is given to `waitUntil`. */
export function execution(ctx, onPromise) {
  return {
    waitUntil(promise) {
      unsettled += 1;
      const given = Promise.resolve(promise);
      onPromise?.(given);
      const settled = given.then(
        () => {},
        (error) => emit("error", ["waitUntil:", error]),
      );
      ctx.waitUntil(settled.finally(() => { unsettled -= 1; }));
    },
    passThroughOnException() {},
    get props() { return ctx.props; },
  };
}
