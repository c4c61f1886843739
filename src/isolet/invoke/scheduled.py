"""Runs a function's `scheduled` handler for one due time of a schedule. `js/events/scheduled.js` is the other side."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from isolet.domain.invocations import Door, Kind
from isolet.errors import HandlerFailed
from isolet.ids import InvocationId
from isolet.invoke.invoker import Invoker
from isolet.invoke.request import CallRequest
from isolet.routing.routes import Route
from isolet.runtime.envelope import SCHEDULED

_REPLY_MAX_BYTES = 1024
_HEADERS = [(b"host", b"scheduled"), (b"content-type", b"application/json")]
_UNREADABLE = "The reply to a scheduled event cannot be read: the function changed what the runtime stands on"


class Firing(Struct, frozen=True, kw_only=True):
    """A due time. `cron` is the expression as its author wrote it, `scheduled_time_ms` counts from 1970 in UTC.

    `post` is the body of the POST that a function without a `scheduled` handler gets instead.
    """

    cron: str
    scheduled_time_ms: int
    post: Mapping[str, Any] | None = None

    def request(self, invocation_id: InvocationId | None = None) -> CallRequest:
        body = {"cron": self.cron, "scheduled_time_ms": self.scheduled_time_ms, "post": self.post}
        return CallRequest(
            door=Door.NATIVE,
            kind=Kind.CRON,
            method=b"POST",
            target=b"/",
            path="/",
            headers=_HEADERS,
            body=json.dumps(body).encode(),
            event=SCHEDULED,
            invocation_id=invocation_id,
        )


class FiringResult(Struct, frozen=True, kw_only=True):
    """`error` is None when the handler, and all that it gave to `waitUntil`, went well.

    `no_retry`: the handler asked that this due time is not tried again.
    """

    invocation_id: InvocationId
    error: str | None
    no_retry: bool


async def fire(
    invoker: Invoker, route: Route, firing: Firing, *, invocation_id: InvocationId | None = None
) -> FiringResult:
    """Run the handler. It has the function's time limit for itself and for its `waitUntil` promises together.

    Raises NoHandler when the function's code has no `scheduled`, and what `Invoker.call` raises but HandlerFailed.
    """
    try:
        reply = await invoker.call(route, firing.request(invocation_id))
    except HandlerFailed as exc:
        ran = InvocationId(str(exc.details["invocation_id"]))
        return FiringResult(invocation_id=ran, error=exc.message, no_retry=exc.no_retry)
    try:
        no_retry = _no_retry(await reply.read(_REPLY_MAX_BYTES))
    except HandlerFailed as exc:
        return FiringResult(invocation_id=reply.invocation_id, error=exc.message, no_retry=False)
    return FiringResult(invocation_id=reply.invocation_id, error=None, no_retry=no_retry)


def _no_retry(body: bytes) -> bool:
    """What the wrapper says of a handler that went well.

    Raises HandlerFailed for a reply that is not the wrapper's: the function can change what the wrapper says.
    """
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    match told:
        case {"outcome": "ok", "no_retry": bool(no_retry)}:
            return no_retry
    raise HandlerFailed(_UNREADABLE)
