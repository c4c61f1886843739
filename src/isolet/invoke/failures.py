"""How calls fail: what a reply says that is no reply, and what is recorded of an error."""

from __future__ import annotations

import asyncio
import json

from isolet.domain.invocations import Invocation, Outcome, cut_error, storable
from isolet.errors import ClientDisconnected, FunctionCrashed, FunctionTimeout, HandlerFailed
from isolet.invoke.headers import get
from isolet.runtime.channel import Connection
from isolet.runtime.instance import Instance

_ERROR_HEADER = b"x-isolet-error"
_REPORT_MAX_BYTES = 262_144
_BARE_500_LENGTH = b"%d" % len(b"Internal Server Error")
_NEVER_SETTLED = (
    "The handler never produced a response: its promise can never settle, or the runtime cancelled the call"
)
_STATUS = {
    Outcome.HANDLER_FAILED: 500,
    Outcome.TIMEOUT: 504,
    Outcome.CRASHED: 502,
    Outcome.DISCONNECTED: 499,
    Outcome.INTERNAL: 500,
}


async def check_reply(instance: Instance, connection: Connection) -> None:
    """Tell a reply of 500 from our wrapper's report, and from workerd's bare one. Raises HandlerFailed."""
    headers = connection.headers
    if get(headers, _ERROR_HEADER) is not None:
        message, stack = await _read_report(connection)
        raise HandlerFailed(instance.redact(message), stack=instance.redact_stack(stack) if stack else None)
    if (
        get(headers, b"connection") == b"close"
        and get(headers, b"content-type") is None
        and get(headers, b"content-length") == _BARE_500_LENGTH
    ):
        raise HandlerFailed(_NEVER_SETTLED)


async def _read_report(connection: Connection) -> tuple[str, str | None]:
    """Message and stack of our wrapper's report. A function that imitates one has failed as well."""
    body = b""
    while len(body) <= _REPORT_MAX_BYTES and (chunk := await connection.chunk()):
        body += chunk
    try:
        report = json.loads(body)
        message, stack = report["message"], report["stack"]
    except (ValueError, KeyError, TypeError):
        message = stack = None
    if not isinstance(message, str) or not isinstance(stack, str | None):
        return "The reply has a header that is reserved: x-isolet-error", None
    return message, stack


def record_error(call: Invocation, error: BaseException) -> None:
    """Outcome, status, text and stack."""
    call.outcome = _outcome(error)
    call.status = _STATUS[call.outcome]
    call.error = cut_error(str(error))
    if isinstance(error, HandlerFailed) and error.stack:
        call.stack = storable(error.stack)


def _outcome(error: BaseException) -> Outcome:
    match error:
        case HandlerFailed():
            return Outcome.HANDLER_FAILED
        case FunctionTimeout():
            return Outcome.TIMEOUT
        case FunctionCrashed():
            return Outcome.CRASHED
        case ClientDisconnected() | asyncio.CancelledError():
            return Outcome.DISCONNECTED
        case _:
            return Outcome.INTERNAL
