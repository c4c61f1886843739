"""Who calls a function, as Butterbase's API tells the function: in headers of the request, and in `ctx`."""

from __future__ import annotations

from typing import Any, Self

from msgspec import Struct

from isolet.api.asgi import Headers
from isolet.domain.access import Principal
from isolet.domain.projects import Project
from isolet.runtime.envelope import Event, EventName

CALLER_FAMILY = b"x-butterbase-caller-"


class Identity(Struct, frozen=True, kw_only=True):
    """Who calls. `caller` is service_key, end_user_jwt, loopback or anonymous."""

    caller: str = "anonymous"
    user_id: str | None = None
    key_id: str | None = None
    scope: str | None = None
    depth: int = 0
    source: str | None = None

    def headers(self, project: Project) -> Headers:
        """What the function reads in its request."""
        told = [(b"x-app-id", project.slug), (b"x-user-id", self.user_id or "")]
        told.append((CALLER_FAMILY + b"type", self.caller))
        for name, value in ((b"key-id", self.key_id), (b"scope", self.scope), (b"source-fn", self.source)):
            if value is not None:
                told.append((CALLER_FAMILY + name, value))
        if self.depth:
            told.append((b"x-butterbase-loop-depth", str(self.depth)))
        return [(name, value.encode()) for name, value in told]

    def event(self, *, function_name: str, ip: str | None, request_id: str) -> Event:
        """A call over HTTP with what `ctx` is made of."""
        context = self.context(function_name=function_name, ip=ip, request_id=request_id)
        return Event.of(EventName.FETCH, context)

    def context(self, *, function_name: str, ip: str | None, request_id: str) -> dict[str, Any]:
        """What `ctx` is made of."""
        return {
            "user": {"id": self.user_id} if self.user_id is not None else None,
            "caller": {"type": self.caller, "keyId": self.key_id, "scope": self.scope, "userId": self.user_id},
            "request": {"id": request_id, "ip": ip, "country": None, "functionName": function_name},
            "depth": self.depth,
        }

    def as_user(self, user_id: str) -> Self:
        return type(self)(caller=self.caller, user_id=user_id, key_id=self.key_id, scope=self.scope)


def service_identity(principal: Principal, project: Project) -> Identity:
    scope = "*" if principal.is_root else f"app:{project.slug}"
    return Identity(caller="service_key", key_id=principal.key_id, scope=scope)
