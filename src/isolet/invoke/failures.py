"""How calls fail: what a reply says that is no reply, and what is recorded of an error."""

from __future__ import annotations

import asyncio
import json

from msgspec import Struct

from isolet.domain.invocations import Invocation, Outcome, cut_error, storable
from isolet.domain.kills import KillReport, Limit
from isolet.domain.limits import STACK_MAX_CHARS
from isolet.errors import ClientDisconnected, FunctionCrashed, FunctionTimeout, HandlerFailed, NoHandler
from isolet.runtime.envelope import EventName
from isolet.runtime.instance import Instance, InstanceEnded
from isolet.wire.channel import Connection
from isolet.wire.headers import get

_ERROR_HEADER = b"x-isolet-error"
_NO_HANDLER = b"no-handler"
_NO_HANDLER_TEXTS = {EventName.FETCH: "This function has no HTTP handler"}
_IMITATED = "The reply has a header that is reserved: x-isolet-error"
_REPORT_MAX_BYTES = 262_144
_SMALL_MODULE_CHARS = 16_384
# Secrets are looked for in all of it, which takes a millisecond for so much.
_SMALL_REPORT_BYTES = 4_096
_BARE_500_LENGTH = b"%d" % len(b"Internal Server Error")
_BROKEN_OFF = "The function broke its reply off before it was complete"
_NEVER_SETTLED = (
    "The handler never produced a response: its promise can never settle, or the runtime cancelled the call"
)
_CANCELLED = "The call was cancelled, or the server stopped before it had ended"
_STATUS = {
    Outcome.HANDLER_FAILED: 500,
    Outcome.TIMEOUT: 504,
    Outcome.CRASHED: 502,
    Outcome.DISCONNECTED: 499,
    Outcome.INTERNAL: 500,
}


async def check_reply(instance: Instance, connection: Connection, event: EventName) -> None:
    """Tell a reply of 500 from our wrapper's report, and from workerd's bare one. Raises HandlerFailed, NoHandler."""
    headers = connection.headers
    kind = get(headers, _ERROR_HEADER)
    if kind == _NO_HANDLER:
        raise NoHandler(_NO_HANDLER_TEXTS.get(event, f"This function has no {event} handler"))
    if kind is not None:
        # The reply to HEAD has no body.
        raise await _told(
            instance, kind[:_REPORT_MAX_BYTES] if connection.without_body else await _read_report(connection)
        )
    if (
        get(headers, b"connection") == b"close"
        and get(headers, b"content-type") is None
        and get(headers, b"content-length") == _BARE_500_LENGTH
    ):
        raise HandlerFailed(_NEVER_SETTLED)


async def _told(instance: Instance, body: bytes) -> HandlerFailed:
    """Places are looked up in the mappings of the module, which are read for that when they are first used."""
    quick = instance.redactor.is_quick and len(instance.spec.module) <= _SMALL_MODULE_CHARS
    if quick and len(body) <= _SMALL_REPORT_BYTES:
        return _failure(instance, body)
    return await asyncio.to_thread(_failure, instance, body)


def _failure(instance: Instance, body: bytes) -> HandlerFailed:
    report = _parsed(body)
    stack = instance.redact_stack(report.stack[:STACK_MAX_CHARS]) if report.stack else None
    message, said = instance.redact(report.message), instance.redact(report.said)
    return HandlerFailed(message, said=said, stack=stack, no_retry=report.no_retry)


class _Report(Struct, frozen=True, kw_only=True):
    """What our wrapper says of an error: message, what the error itself says, stack."""

    message: str = _IMITATED
    said: str = _IMITATED
    stack: str | None = None
    no_retry: bool = False


async def _read_report(connection: Connection) -> bytes:
    body = b""
    while len(body) <= _REPORT_MAX_BYTES and (chunk := await connection.chunk()):
        body += chunk
    return body


def _parsed(body: bytes) -> _Report:
    """A function that imitates a report has failed as well."""
    try:
        report = json.loads(body)
        message, said, stack = report["message"], report["said"], report["stack"]
        no_retry = report.get("no_retry") is True
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return _Report()
    if not isinstance(message, str) or not isinstance(said, str) or not isinstance(stack, str | None):
        return _Report()
    return _Report(message=message, said=said, stack=stack, no_retry=no_retry)


async def explain(instance: Instance | None, error: OSError, now_ms: int) -> KillReport | None:
    """Why a connection to an instance, None for one that never was, broke off; None when its process goes on."""
    if isinstance(error, InstanceEnded):
        return error.report
    if instance is None:
        return KillReport(limit=Limit.CRASH, at_ms=now_ms, detail="it did not start")
    return await instance.post_mortem(now_ms)


def broken_off(instance: Instance | None, began_s: float) -> HandlerFailed:
    """What a reply that ends early is, with what the runtime said of it since the call began."""
    said = instance.console.take_broken(began_s) if instance is not None else None
    return HandlerFailed(f"{_BROKEN_OFF}: {said}" if said else _BROKEN_OFF)


def record_error(call: Invocation, error: BaseException) -> None:
    """Outcome, status, text and stack."""
    call.outcome = _outcome(error)
    call.status = _STATUS[call.outcome]
    call.error = _CANCELLED if isinstance(error, asyncio.CancelledError) else cut_error(str(error))
    if isinstance(error, NoHandler):
        call.status = 404
    if isinstance(error, HandlerFailed) and error.stack:
        call.stack = storable(error.stack)


def _outcome(error: BaseException) -> Outcome:
    match error:
        case HandlerFailed() | NoHandler():
            return Outcome.HANDLER_FAILED
        case FunctionTimeout():
            return Outcome.TIMEOUT
        case FunctionCrashed():
            return Outcome.CRASHED
        case ClientDisconnected() | asyncio.CancelledError():
            return Outcome.DISCONNECTED
        case _:
            return Outcome.INTERNAL
