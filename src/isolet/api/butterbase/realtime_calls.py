"""What functions are told of an event of a live connection, and clients of its failure, in Butterbase's words."""

from __future__ import annotations

from typing import Any

from isolet.api.butterbase.identity import Identity as Caller
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
from isolet.invoke.request import CallRequest
from isolet.realtime.calls import Visitor
from isolet.realtime.identity import Identity
from isolet.routing.routes import Route
from isolet.runtime.envelope import Event, EventName
from isolet.telemetry import get_logger

log = get_logger("realtime")


class ButterbaseEvents:
    """An `EventDialect`."""

    def request(self, route: Route, project: Project, visitor: Visitor, identity: Identity, body: str) -> CallRequest:
        path = f"/v1/{project.slug}/realtime"
        caller = _caller(identity, project)
        context = caller.context(function_name=route.name, ip=visitor.address, request_id=new_id())
        return CallRequest(
            door=Door.BUTTERBASE,
            kind=Kind.WEBSOCKET,
            method=b"POST",
            target=path.encode(),
            path=path,
            headers=[(b"host", visitor.host), (b"content-type", b"application/json")],
            own=[*visitor.told, *caller.headers(project)],
            body=body.encode("ascii"),
            scheme=visitor.scheme,
            origin=Origin(user_id=identity.user_id, told=visitor.told, scheme=visitor.scheme),
            event=Event.of(EventName.FETCH, {**context, "user": identity.shown_user()}),
        )

    def failure(self, error: IsoletError, *, with_stack: bool) -> dict[str, Any]:
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


def _caller(identity: Identity, project: Project) -> Caller:
    if identity.is_service:
        scope = "*" if identity.is_root else f"app:{project.slug}"
        return Caller(caller="service_key", key_id=identity.key_id, scope=scope)
    if identity.user_id is None:
        return Caller()
    return Caller(caller="end_user_jwt", user_id=identity.user_id)
