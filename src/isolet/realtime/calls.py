"""Calls of functions for live connections: an event, or the question whether a client may subscribe."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Protocol

from msgspec import Struct

from isolet.domain.projects import Project
from isolet.domain.strict_json import TOO_MANY, TooManyValues, read_writable
from isolet.errors import IsoletError
from isolet.invoke.invoker import Invoker, Reply
from isolet.invoke.request import CallRequest
from isolet.realtime.identity import Identity
from isolet.routing.routes import Route
from isolet.telemetry import get_logger
from isolet.wire.heads import Headers

log = get_logger("realtime")

REPLY_MAX_BYTES = 1024 * 1024
# Larger ones are read in a thread.
_SMALL_BYTES = 65_536


class Visitor(Struct, frozen=True, kw_only=True):
    """The client of a connection, as functions are told of it. `told` are the headers that say who it is."""

    host: bytes
    scheme: str
    told: Headers
    address: str | None


class EventDialect(Protocol):
    """How functions and clients are told of a call: in the words of the API that the connection came by."""

    def request(self, route: Route, project: Project, visitor: Visitor, identity: Identity, body: str) -> CallRequest:
        """The call that an event makes. `body` is JSON in ASCII."""

    def failure(self, error: IsoletError, *, with_stack: bool) -> dict[str, Any]:
        """An object with `error`, which holds nothing of a fault of the platform's own."""


class EventAnswer(Struct, frozen=True, kw_only=True):
    """`data` is the function's reply as JSON in ASCII; what went wrong as an object with `error`.

    `invocation_id` is None when nothing ran.
    """

    data: str
    invocation_id: str | None


class EventCalls(Struct, frozen=True, kw_only=True):
    invoker: Invoker
    dialect: EventDialect

    async def run(self, route: Route, project: Project, visitor: Visitor, identity: Identity, body: str) -> EventAnswer:
        """`body` is JSON in ASCII."""
        ran: str | None = None
        try:
            reply = await self.invoker.call(route, self.dialect.request(route, project, visitor, identity, body))
            ran = reply.invocation_id
            return EventAnswer(data=await _data_of(reply), invocation_id=ran)
        except IsoletError as exc:
            data = _dump(self.dialect.failure(exc, with_stack=identity.is_service))
            begun = exc.details.get("invocation_id", ran)
            return EventAnswer(data=data, invocation_id=None if begun is None else str(begun))

    async def allows(self, route: Route, project: Project, visitor: Visitor, identity: Identity, body: str) -> bool:
        """Whether the function's reply is a success."""
        try:
            reply = await self.invoker.call(route, self.dialect.request(route, project, visitor, identity, body))
            allowed = 200 <= reply.status < 300
            await reply.read(REPLY_MAX_BYTES)
        except IsoletError as exc:
            log.info("the function that is asked who may subscribe failed", function_id=route.function_id, why=exc.code)
            return False
        return allowed


async def _data_of(reply: Reply) -> str:
    """The body: JSON as it is, anything else as text; a status that tells of an error goes with text."""
    status = reply.status
    body = await reply.read_plain(REPLY_MAX_BYTES)
    if len(body) > _SMALL_BYTES:
        return await asyncio.to_thread(_data, status, body)
    return _data(status, body)


def _data(status: int, body: bytes) -> str:
    if not body and status < 400:
        return "null"
    try:
        return _dump(read_writable(body))
    except TooManyValues:
        return _dump({"error": f"The function's reply {TOO_MANY}", "status": 500})
    except (ValueError, RecursionError):
        text = body.decode("utf-8", "replace")
    return _dump(text if status < 400 else {"error": text or f"The function answered {status}", "status": status})


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
