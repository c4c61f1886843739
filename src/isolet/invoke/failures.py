"""How calls fail: what a reply says that is no reply, and what is recorded of an error."""

from __future__ import annotations

import asyncio
import json

from isolet.domain.invocations import Invocation, Outcome, cut_error, storable
from isolet.domain.limits import STACK_MAX_CHARS
from isolet.errors import ClientDisconnected, FunctionCrashed, FunctionTimeout, HandlerFailed
from isolet.runtime.instance import Instance
from isolet.wire.channel import Connection
from isolet.wire.headers import get

_ERROR_HEADER = b"x-isolet-error"
_IMITATED = "The reply has a header that is reserved: x-isolet-error"
_REPORT_MAX_BYTES = 262_144
_SMALL_MODULE_CHARS = 16_384
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
        message, said, stack = await _read_report(connection)
        raise HandlerFailed(
            instance.redact(message),
            said=instance.redact(said),
            stack=await _told_stack(instance, stack) if stack else None,
        )
    if (
        get(headers, b"connection") == b"close"
        and get(headers, b"content-type") is None
        and get(headers, b"content-length") == _BARE_500_LENGTH
    ):
        raise HandlerFailed(_NEVER_SETTLED)


async def _told_stack(instance: Instance, stack: str) -> str:
    """Places are looked up in the mappings of the module, which are read for that when they are first used."""
    stack = stack[:STACK_MAX_CHARS]
    if len(instance.spec.module) <= _SMALL_MODULE_CHARS:
        return instance.redact_stack(stack)
    return await asyncio.to_thread(instance.redact_stack, stack)


async def _read_report(connection: Connection) -> tuple[str, str, str | None]:
    """Message, what the error itself says, and stack of our wrapper's report.

    A function that imitates one has failed as well.
    """
    body = b""
    while len(body) <= _REPORT_MAX_BYTES and (chunk := await connection.chunk()):
        body += chunk
    try:
        report = json.loads(body)
        message, said, stack = report["message"], report["said"], report["stack"]
    except (ValueError, KeyError, TypeError, RecursionError):
        message = said = stack = None
    if not isinstance(message, str) or not isinstance(said, str) or not isinstance(stack, str | None):
        return _IMITATED, _IMITATED, None
    return message, said, stack


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
