// Replies that the host can tell from the function's own: their header is reserved.

import { Response, stringify } from "./console.js";
import { headOf, isError, thrownStack, thrownText } from "./errors.js";

const MAX_CHARS = 4_096;

/**
 * The report of what was thrown. `message` says all of it, `said` what the error itself says, without its name; `more`
 * are further members.
 */
export function failure(error, more) {
  const message = thrownText(error);
  let said = message;
  try {
    if (isError(error)) said = typeof error.message === "string" && error.message ? error.message : headOf(error);
  } catch {
    // A getter of the function's own.
  }
  const report = {
    message: message.slice(0, MAX_CHARS),
    said: said.slice(0, MAX_CHARS),
    stack: thrownStack(error) ?? null,
    ...more,
  };
  return new Response(stringify(report), { status: 500, headers: { "x-isolet-error": "1" } });
}

/** The event of a function whose module has no handler for it. */
export function noHandler() {
  return new Response(null, { status: 500, headers: { "x-isolet-error": "no-handler" } });
}
