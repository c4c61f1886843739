// Replies that the host can tell from the function's own: their header is reserved.

import { Response, stringify } from "./console.js";
import { headOf, isError, thrownStack, thrownText } from "./errors.js";

const MAX_CHARS = 4_096;
const NOT_IN_HEADERS = /[^\x20-\x7e]/g;

/** A character of JSON as JSON escapes it. */
function escape(char) {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/**
 * The report of what was thrown. `message` says all of it, `said` what the error itself says, without its name; `more`
 * are further members. The reply to HEAD, which has no body, has it in the header.
 */
export function failure(error, more, method) {
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
  const text = stringify(report);
  const [body, header] = method === "HEAD" ? [null, text.replace(NOT_IN_HEADERS, escape)] : [text, "1"];
  return new Response(body, { status: 500, headers: { "x-isolet-error": header } });
}

/** The event of a function whose module has no handler for it. */
export function noHandler() {
  return new Response(null, { status: 500, headers: { "x-isolet-error": "no-handler" } });
}
