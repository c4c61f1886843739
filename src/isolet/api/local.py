"""What a server for development does besides, for callers on this machine.

Its functions answer without a key, and `/cdn-cgi/handler/scheduled` runs a function's `scheduled` handler, as it does
in other tools for Workers. A page of another site gets neither: browsers on this machine would call for it.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from msgspec import Struct

from isolet.api.asgi import Headers, Receive, Scope, Send, send_bytes
from isolet.api.native.errors import error_reply
from isolet.api.public.calls import PREFIX
from isolet.api.request_ids import send_error
from isolet.clock import Clock, iso
from isolet.domain.public_routes import plain_host
from isolet.errors import InvalidInput, IsoletError, NotFound
from isolet.invoke.invoker import Invoker
from isolet.invoke.scheduled import Firing, fire
from isolet.routing.routes import Route, Routes
from isolet.wire.headers import get

SCHEDULED = b"/cdn-cgi/handler/scheduled"
_CREDENTIALS = (b"authorization", b"x-api-key")
_TIME_MAX_MS = 8_640_000_000_000_000


class LocalRequests(Struct, frozen=True, kw_only=True):
    """Plain ASGI around all doors. `project` is the slug of the one that is developed."""

    app: Any
    routes: Routes
    invoker: Invoker
    clock: Clock
    key: str
    project: str
    is_own_host: Callable[[Headers], bool]

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http" and _is_local(scope):
            headers: Headers = scope["headers"]
            own = self.is_own_host(headers)
            if scope["raw_path"] == SCHEDULED and not own:
                return self._scheduled(scope, send)
            if (own or scope["raw_path"].startswith(PREFIX)) and not any(get(headers, name) for name in _CREDENTIALS):
                scope["headers"] = [*headers, (b"x-api-key", self.key.encode())]
        served: Awaitable[None] = self.app(scope, receive, send)
        return served

    async def _scheduled(self, scope: Scope, send: Send) -> None:
        try:
            asked = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
            cron, time_ms = asked.get("cron", ""), _time_ms(asked.get("time"), self.clock)
            post = {
                "trigger": "cron",
                "schedule": cron,
                "scheduled_time": iso(time_ms),
                "timezone": "UTC",
                "attempt": 1,
            }
            firing = Firing(cron=cron, scheduled_time_ms=time_ms, post=post)
            result = await fire(self.invoker, self._route(asked.get("function")), firing)
        except IsoletError as exc:
            await send_error(scope, send, error_reply, exc)
            return
        outcome = "ok" if result.error is None else "exception"
        told = {"outcome": outcome, "noRetry": result.no_retry, "error": result.error}
        as_json = asked.get("format") == "json"
        kind = b"application/json" if as_json else b"text/plain"
        reply_headers = [(b"content-type", kind), (b"x-invocation-id", result.invocation_id.encode())]
        status = 200 if result.error is None else 500
        await send_bytes(send, status, (json.dumps(told) if as_json else outcome).encode(), reply_headers)

    def _route(self, name: str | None) -> Route:
        """The function of that name, or the only one. Raises NotFound, InvalidInput."""
        project = self.routes.project(self.project)
        if project is None:
            raise NotFound("Project not found")
        if name is not None:
            route = self.routes.named(project.id, name)
            if route is None:
                raise NotFound("Function not found")
            return route
        found = list(self.routes.of_project(project.id).values())
        if len(found) == 1:
            return found[0]
        names = ", ".join(sorted(route.slug for route in found)) or "none"
        raise InvalidInput(f"function: say which one with ?function=; there is {names}")


def _is_local(scope: Scope) -> bool:
    """Whether a program on this machine asks, under a name of this machine, and not for another site's page."""
    headers: Headers = scope["headers"]
    caller = scope["client"][0] if scope.get("client") else ""
    return _is_loopback(caller) and _is_here(get(headers, b"host") or b"") and not _is_cross_site(headers)


def _is_cross_site(headers: Headers) -> bool:
    """Browsers say so; those that do not name the page's origin when they send something, or open a WebSocket."""
    origin = get(headers, b"origin")
    return get(headers, b"sec-fetch-site") == b"cross-site" or (
        origin is not None and not _is_here(origin.partition(b"://")[2])
    )


def _is_here(host: bytes) -> bool:
    """Whether a host, with or without a port, is a name of this machine."""
    plain = plain_host(host)
    return plain == "localhost" or plain.endswith(".localhost") or _is_loopback(plain.strip("[]"))


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _time_ms(text: str | None, clock: Clock) -> int:
    if text is None:
        return clock.now_ms()
    if not (text.isascii() and text.isdigit()) or len(text) > 16 or int(text) > _TIME_MAX_MS:
        raise InvalidInput("time: must be milliseconds since 1970")
    return int(text)
