"""What functions ask of their own server, through a unix socket that only instances can reach.

`ctx.invoke` calls another function of the project; what else a function's `ctx` has is a service at a path of its own.

An instance shows a token of its own, and the id of the call that it is in. Depth, user and client are those of that
call as the host knows it, so a call never leaves the project, whatever the function says. It can name another of the
calls of its own instance, and none else.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote

from msgspec import Struct, field

from isolet.access import rates
from isolet.access.open_requests import OpenRequests
from isolet.api.asgi import Headers, Receive, Scope, Send, parse_json, send_json, send_reply
from isolet.api.body import SMALL_BYTES, Body
from isolet.api.butterbase.errors import call_error_reply
from isolet.api.butterbase.identity import Identity
from isolet.api.request_ids import send_error
from isolet.domain.invocations import Door
from isolet.domain.origins import Origin
from isolet.errors import Forbidden, IsoletError, NotFound, TooLarge
from isolet.ids import ProjectId, new_id
from isolet.invoke.bodies import Bodies
from isolet.invoke.invoker import Invoker
from isolet.invoke.request import CallRequest
from isolet.invoke.spool import Spooled
from isolet.routing.routes import Route, Routes
from isolet.runtime.envelope import CALL_HEADER
from isolet.runtime.instance import Instance
from isolet.settings import Settings
from isolet.wire.headers import get

DEPTH_MAX = 4
_NOT_PASSED = (b"x-isolet-", b"x-butterbase-", b"x-user-id", b"x-app-id")
# Larger ones are read in a thread.
_SMALL_JSON_BYTES = 32_768
_LIMIT = "ctx.invoke loop limit exceeded"


# Gets the project of the function that asks, what it sent, and for whom its call runs. Its answer is JSON.
Service: TypeAlias = Callable[[ProjectId, Any, Origin], Awaitable[Any]]


class Loopback(Struct, frozen=True, kw_only=True):
    """Plain ASGI. Paths of `services` have a slash, which those of functions never have.

    What functions ask counts in no minute: a caller's request led to it. Of what may be `opening` a project has its
    share, and what it asks of threads is its own.
    """

    routes: Routes
    invoker: Invoker
    instance_of: Callable[[str], Instance | None]
    bodies: Bodies
    settings: Settings
    opening: OpenRequests
    services: dict[bytes, Service] = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            source, origin = self._source(scope["headers"])
            rates.opened(scope, self.opening)
            rates.hold(scope, source.project_id)
            if (service := self.services.get(scope["raw_path"])) is not None:
                await self._serve(scope, receive, send, source.project_id, origin, service)
                return
            if origin.depth >= DEPTH_MAX:
                raise Forbidden(_LIMIT)
            route = self.routes.named(source.project_id, unquote(scope["raw_path"].decode("latin-1").lstrip("/")))
            if route is None or route.version is None:
                raise NotFound("Function not found")
            self.invoker.admit(route)
            limit = self.settings.max_body_bytes
            with Body(scope, receive, limit=limit, bodies=self.bodies, project_id=route.project_id) as body:
                payload = await body.read()
                reply = await self.invoker.call(route, self._request(scope, source, origin, route, payload, body))
                await send_reply(send, reply)
        except IsoletError as exc:
            await send_error(scope, send, partial(call_error_reply, with_stack=True), exc)

    def _source(self, headers: Headers) -> tuple[Route, Origin]:
        """Which function calls, and for whom: as the host knows it of the call that it is in."""
        instance = self.instance_of(_text(headers, b"x-isolet-token"))
        route = self.routes.function(instance.spec.function_id) if instance is not None else None
        if instance is None or route is None:
            raise Forbidden("This is for functions of this server")
        origin = instance.origins.find(_text(headers, CALL_HEADER.encode()))
        if origin is None:
            raise Forbidden("ctx.invoke is for calls that run, and for what they left running")
        return route, origin

    async def _serve(
        self, scope: Scope, receive: Receive, send: Send, project_id: ProjectId, origin: Origin, service: Service
    ) -> None:
        told = f"What is sent is larger than {SMALL_BYTES} bytes"
        with Body(scope, receive, limit=SMALL_BYTES, bodies=self.bodies, project_id=project_id, too_large=told) as body:
            payload = await body.read()
        if not isinstance(payload, bytes):
            raise TooLarge(told)
        small = len(payload) <= _SMALL_JSON_BYTES
        asked = parse_json(payload) if small else await asyncio.to_thread(parse_json, payload)
        await send_json(send, 200, await service(project_id, asked, origin))

    def _request(
        self, scope: Scope, source: Route, origin: Origin, route: Route, payload: bytes | Spooled, body: Body
    ) -> CallRequest:
        headers: Headers = scope["headers"]
        project = self.routes.project(self.routes.slug_of(route.project_id))
        if project is None:
            raise NotFound("Function not found")
        origin = origin._replace(depth=origin.depth + 1)
        identity = Identity(
            caller="loopback",
            user_id=origin.user_id,
            scope=f"app:{project.slug}",
            depth=origin.depth,
            source=source.name if source.name.isascii() and source.name.isprintable() else source.slug,
        )
        passed = [(name, value) for name, value in headers if not name.startswith(_NOT_PASSED)]
        return CallRequest(
            door=Door.BUTTERBASE,
            method=scope["method"].encode(),
            target=f"/v1/{project.slug}/fn/".encode() + scope["raw_path"].lstrip(b"/"),
            path=f"/v1/{project.slug}/fn{scope['path']}",
            headers=passed,
            own=[*origin.told, *identity.headers(project)],
            body=payload,
            scheme=origin.scheme,
            gone=body.gone,
            origin=origin,
            event=identity.event(function_name=route.name, ip=origin.address, request_id=new_id()),
        )


def _text(headers: Headers, name: bytes) -> str:
    return (get(headers, name) or b"").decode("latin-1")


def bind_unix(path: Path) -> socket.socket:
    """A socket at `path`; one that an earlier run left is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bound.bind(str(path))
    bound.setblocking(False)
    return bound
