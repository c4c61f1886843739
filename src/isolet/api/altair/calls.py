"""Calls through the Altair API: `invoke` and `async-invoke`."""

from __future__ import annotations

import hashlib
from urllib.parse import unquote

from msgspec import Struct

from isolet.access.callers import Callers, admitted
from isolet.api import cors
from isolet.api.altair.access import INVOKE
from isolet.api.altair.errors import error_reply
from isolet.api.asgi import (
    Headers,
    Receive,
    Scope,
    Send,
    origin_of,
    send_bytes,
    send_json,
    send_reply,
    told_to_function,
    with_query,
)
from isolet.api.body import SMALL_BYTES, Body
from isolet.api.butterbase.identity import passed_to
from isolet.api.request_ids import send_error
from isolet.domain.callbacks import check_url
from isolet.domain.invocations import Door
from isolet.errors import (
    IsoletError,
    MethodNotAllowed,
    NotDeployed,
    NotFound,
    RequestError,
)
from isolet.ids import ProjectId
from isolet.invoke.bodies import Bodies
from isolet.invoke.invoker import Invoker
from isolet.invoke.request import CallRequest, check_target
from isolet.jobs.calls import HOPS_HEADER
from isolet.jobs.queue import AsyncCall, Jobs
from isolet.routing.routes import Route, Routes
from isolet.runtime.addresses import Addresses
from isolet.settings import Settings
from isolet.wire.headers import get, named

PREFIX = "/spaces/"
_METHODS = ("POST", "GET", "PUT", "PATCH", "DELETE")
_SYNC, _ASYNC = b"invoke", b"async-invoke"
_EXTRA_MAX = 3
_HOPS_MAX = 5
# Of every reply of a function here, whatever it says itself.
_INVOKED = (b"x-invoked", b"true")
_KEY_MAX_CHARS = 255
# What a job does not keep: credentials, what asked for the job itself, and what belongs to the connection.
_NOT_KEPT = frozenset({b"x-api-key", b"x-callback-url", b"connection", b"content-length", b"transfer-encoding"})


class _Target(Struct, frozen=True, kw_only=True):
    """The parts of a call's path; `extra` is what follows `invoke`, as it was sent."""

    space: str
    name: str
    kind: bytes
    extra: bytes


class AltairCalls(Struct, frozen=True, kw_only=True):
    """Plain ASGI on the path of calls."""

    routes: Routes
    callers: Callers
    invoker: Invoker
    jobs: Jobs
    bodies: Bodies
    settings: Settings
    addresses: Addresses

    def takes(self, scope: Scope) -> bool:
        """Whether the path is one of a call: `/spaces/{space}/functions/{name}/[async-]invoke…`."""
        parts = scope["raw_path"].split(b"/", 6)
        return len(parts) > 5 and parts[3] == b"functions" and parts[5] in (_SYNC, _ASYNC)

    async def call(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            target = _parse(scope["raw_path"])
            route = self._route(scope, target)
            if target.kind == _SYNC:
                await self._invoke(scope, receive, send, route, target)
            else:
                await self._accept(scope, receive, send, route, target)
        except IsoletError as exc:
            await send_error(scope, send, error_reply, exc)

    def _route(self, scope: Scope, target: _Target) -> Route:
        allowed = _METHODS if target.kind == _SYNC else ("POST",)
        principal = self.callers.require(scope)
        project = admitted(principal, self.routes.project(target.space), INVOKE)
        route = self.routes.named(project.id, target.name)
        if route is None:
            raise NotFound(INVOKE.project.missing)
        if scope["method"] not in allowed:
            raise MethodNotAllowed("Method not allowed", allowed=allowed)
        return route

    async def _invoke(self, scope: Scope, receive: Receive, send: Send, route: Route, target: _Target) -> None:
        if route.version is None:
            await send_json(send, 202, {"details": "function not ready"})
            return
        self.invoker.admit(route)
        with self._body(scope, receive, route) as body:
            reply = await self.invoker.call(
                route,
                CallRequest(
                    door=Door.ALTAIR,
                    method=scope["method"].encode(),
                    target=with_query(target.extra, scope["query_string"]),
                    path=unquote(target.extra.decode("latin-1")),
                    headers=passed_to(route, scope["headers"]),
                    own=told_to_function(scope),
                    body=await body.read(),
                    scheme=scope["scheme"],
                    origin=origin_of(scope),
                    gone=body.gone,
                    asked=scope["raw_path"],
                ),
            )
            own = cors.streaming(reply.headers)
            reply.headers = [*(header for header in own if header[0] != _INVOKED[0]), _INVOKED]
            await send_reply(send, reply)

    async def _accept(self, scope: Scope, receive: Receive, send: Send, route: Route, target: _Target) -> None:
        if route.version is None:
            raise NotDeployed("function not ready")
        headers = scope["headers"]
        url = self._callback_url(headers, route.project_id)
        if _hops(headers) >= _HOPS_MAX:
            raise RequestError("The call was made by a callback of a callback, too often in a row")
        key = get(headers, b"idempotency-key")
        if key is not None and not 0 < len(key) <= _KEY_MAX_CHARS:
            raise RequestError(f"Idempotency-Key must have 1 to {_KEY_MAX_CHARS} characters")
        # Before its body is taken in.
        self.jobs.check_room(route.project_id, _length(headers))
        where = self.invoker.own_keys.without_in_query(with_query(target.extra, scope["query_string"]))
        check_target(where)
        left_out = _NOT_KEPT | named(headers)
        passed = self.invoker.own_keys.without(passed_to(route, headers))
        kept = [header for header in passed if header[0] not in left_out]
        with self._body(scope, receive, route) as opened:
            body = await opened.whole()
            digest = hashlib.sha256(b"\n".join((where, (url or "").encode(), b"")))
            await self._digest(digest, body)
            job_id = await self.jobs.accept(
                AsyncCall(
                    door=Door.ALTAIR,
                    route=route,
                    method="POST",
                    target=where.decode("latin-1"),
                    headers=[
                        (name.decode("latin-1"), value.decode("latin-1"))
                        for name, value in (*kept, *told_to_function(scope))
                    ],
                    body=body,
                    callback_url=url,
                    idempotency_key=None if key is None else key.decode("latin-1"),
                    digest=digest.digest(),
                )
            )
        location = f"/isolet/v1/invocations/{job_id}".encode()
        await send_bytes(send, 202, b"", [(b"x-invocation-id", job_id.encode()), (b"location", location)])

    def _body(self, scope: Scope, receive: Receive, route: Route) -> Body:
        limit = self.settings.max_body_bytes
        return Body(scope, receive, limit=limit, bodies=self.bodies, project_id=route.project_id)

    async def _digest(self, digest: hashlib._Hash, body: bytes) -> None:
        if len(body) > SMALL_BYTES:
            # It lets the loop go on meanwhile.
            await self.bodies.run(lambda: digest.update(body))
        else:
            digest.update(body)

    def _callback_url(self, headers: Headers, project_id: ProjectId) -> str | None:
        value = get(headers, b"x-callback-url")
        if value is None:
            return None
        return check_url(
            value.decode("latin-1").strip(),
            label="X-Callback-Url",
            allowed=self.routes.egress_of(project_id),
            own=self.addresses.current,
            http=self.settings.callback_http,
        )


def _parse(raw_path: bytes) -> _Target:
    """Raises NotFound for more than three extra parts."""
    parts = raw_path.split(b"/", 6)
    extra = parts[6] if len(parts) > 6 else b""
    if len([part for part in extra.split(b"/") if part]) > _EXTRA_MAX:
        raise NotFound("The path after invoke may have up to three levels")
    space, name = (unquote(part.decode("latin-1")) for part in (parts[2], parts[4]))
    return _Target(space=space, name=name, kind=parts[5], extra=b"/" + extra)


def _length(headers: Headers) -> int:
    """How long the body says that it is; 0 when it does not."""
    value = get(headers, b"content-length") or b"0"
    return int(value) if value.isdigit() else 0


def _hops(headers: Headers) -> int:
    value = get(headers, HOPS_HEADER.encode()) or b"0"
    return int(value[:4]) if value.isdigit() else 0
