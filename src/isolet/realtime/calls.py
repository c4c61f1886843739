"""Calls of functions for live connections: an event, or the question whether a client may subscribe."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from isolet.domain.invocations import Door, Kind
from isolet.domain.origins import Origin
from isolet.domain.projects import Project
from isolet.errors import (
    FunctionCrashed,
    FunctionTimeout,
    HandlerFailed,
    IsoletError,
    NoHandler,
    TooManyRequests,
)
from isolet.ids import new_id
from isolet.invoke.invoker import Invoker, Reply
from isolet.invoke.request import CallRequest
from isolet.realtime.identity import Identity
from isolet.routing.routes import Route
from isolet.runtime.envelope import Event, EventName
from isolet.telemetry import get_logger
from isolet.wire.heads import Headers

log = get_logger("realtime")

REPLY_MAX_BYTES = 1024 * 1024
# Larger ones are read in a thread.
_SMALL_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """The client of a connection, as functions are told of it. `told` are the headers that say who it is."""

    host: bytes
    scheme: str
    told: Headers
    address: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventAnswer:
    """`data` is the function's reply as JSON in ASCII; what went wrong as an object with `error`.

    `invocation_id` is None when nothing ran.
    """

    data: str
    invocation_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventCalls:
    invoker: Invoker

    async def run(self, route: Route, project: Project, visitor: Visitor, identity: Identity, body: str) -> EventAnswer:
        """`body` is JSON in ASCII."""
        ran: str | None = None
        try:
            reply = await self.invoker.call(route, _request(route, project, visitor, identity, body))
            ran = reply.invocation_id
            return EventAnswer(data=await _data_of(reply), invocation_id=ran)
        except IsoletError as exc:
            data = _dump(_failure(exc, with_stack=identity.is_service))
            begun = exc.details.get("invocation_id", ran)
            return EventAnswer(data=data, invocation_id=None if begun is None else str(begun))

    async def allows(self, route: Route, project: Project, visitor: Visitor, identity: Identity, body: str) -> bool:
        """Whether the function's reply is a success."""
        try:
            reply = await self.invoker.call(route, _request(route, project, visitor, identity, body))
            allowed = 200 <= reply.status < 300
            await reply.read(REPLY_MAX_BYTES)
        except IsoletError as exc:
            log.info("the function that is asked who may subscribe failed", function_id=route.function_id, why=exc.code)
            return False
        return allowed


def _request(route: Route, project: Project, visitor: Visitor, identity: Identity, body: str) -> CallRequest:
    path = f"/v1/{project.slug}/realtime"
    scope = None
    if identity.is_service:
        scope = "*" if identity.is_root else f"app:{project.slug}"
    told = [
        ("x-app-id", project.slug),
        ("x-user-id", identity.user_id or ""),
        ("x-butterbase-caller-type", identity.caller),
    ]
    if identity.key_id is not None:
        told.append(("x-butterbase-caller-key-id", identity.key_id))
    if scope is not None:
        told.append(("x-butterbase-caller-scope", scope))
    context = {
        "user": identity.shown_user(),
        "caller": {"type": identity.caller, "keyId": identity.key_id, "scope": scope, "userId": identity.user_id},
        "request": {"id": new_id(), "ip": visitor.address, "country": None, "functionName": route.name},
        "depth": 0,
    }
    return CallRequest(
        door=Door.BUTTERBASE,
        kind=Kind.WEBSOCKET,
        method=b"POST",
        target=path.encode(),
        path=path,
        headers=[(b"host", visitor.host), (b"content-type", b"application/json")],
        own=[*visitor.told, *((name.encode(), value.encode()) for name, value in told)],
        body=body.encode("ascii"),
        scheme=visitor.scheme,
        origin=Origin(user_id=identity.user_id, told=visitor.told, scheme=visitor.scheme),
        event=Event.of(EventName.FETCH, context),
    )


async def _data_of(reply: Reply) -> str:
    """The body: JSON as it is, anything else as text; a status that tells of an error goes with text."""
    status = reply.status
    body = await reply.read(REPLY_MAX_BYTES)
    if len(body) > _SMALL_BYTES:
        return await asyncio.to_thread(_data, status, body)
    return _data(status, body)


def _data(status: int, body: bytes) -> str:
    if not body and status < 400:
        return "null"
    try:
        return _dump(json.loads(body))
    except (ValueError, RecursionError):
        text = body.decode("utf-8", "replace")
    return _dump(text if status < 400 else {"error": text or f"The function answered {status}", "status": status})


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _failure(error: IsoletError, *, with_stack: bool) -> dict[str, Any]:
    """As the caller of a function by HTTP is told it. Nobody is told of a fault of the platform's own."""
    match error:
        case HandlerFailed():
            return {"error": error.said, "stack": error.stack if with_stack else None}
        case FunctionTimeout():
            return {"error": "function_timeout", "message": error.message, "duration_ms": error.timeout_ms}
        case FunctionCrashed():
            return {"error": "function_crashed", "message": error.message}
        case TooManyRequests():
            return {"error": "Concurrency limit reached", "message": error.message}
        case NoHandler():
            return {"error": error.message}
        case _:
            log.error("an event's call failed", error=str(error), code=error.code)
            return {"error": "Event handler execution failed"}
