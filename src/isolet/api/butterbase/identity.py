"""Who calls a function, as Butterbase's API tells the function: in headers of the request, and in `ctx`."""

from __future__ import annotations

from typing import Any, Self

from msgspec import Struct

from isolet.api.asgi import Headers
from isolet.domain.access import Principal
from isolet.domain.projects import Project
from isolet.ids import new_id
from isolet.routing.routes import Route
from isolet.runtime.envelope import Event, EventName
from isolet.wire.headers import may_have

CALLER_FAMILY = b"x-butterbase-caller-"
# What callers say here is not passed on: the platform says it itself.
_OWN_HEADERS = frozenset({b"x-user-id", b"x-app-id", b"x-butterbase-loop-depth", b"x-butterbase-as-user"})


def passed(headers: Headers) -> Headers:
    """The caller's headers without those that the platform says itself."""
    if not may_have(headers, _OWN_HEADERS, CALLER_FAMILY):
        return headers
    return [(name, value) for name, value in headers if name not in _OWN_HEADERS and not name.startswith(CALLER_FAMILY)]


def passed_to(route: Route, headers: Headers) -> Headers:
    """The same through another door, of a function that is told by this API who calls; all of them to others."""
    return headers if route.http_auth is None and route.event is None else passed(headers)


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


def told_again(headers: Headers, function_name: str, address: str | None) -> Event:
    """A call that is made again: who called is in its headers, as this API told the function."""
    told = {name: value.decode("latin-1") for name, value in headers}
    identity = Identity(
        caller=told.get(b"x-butterbase-caller-type", "anonymous"),
        user_id=told.get(b"x-user-id") or None,
        key_id=told.get(b"x-butterbase-caller-key-id"),
        scope=told.get(b"x-butterbase-caller-scope"),
        depth=int(told.get(b"x-butterbase-loop-depth", "0")),
    )
    return identity.event(function_name=function_name, ip=address, request_id=new_id())


def anonymous_again(_: Headers, function_name: str, address: str | None) -> Event:
    """The same of a call whose headers are the caller's own, and whose caller is not kept."""
    return told_again([], function_name, address)


def service_identity(principal: Principal, project: Project) -> Identity:
    scope = "*" if principal.is_root else f"app:{project.slug}"
    return Identity(caller="service_key", key_id=principal.key_id, scope=scope)
