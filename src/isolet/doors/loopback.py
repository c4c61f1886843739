"""`ctx.invoke`: a function calls another of its project through a unix socket that only instances can reach.

The token that an instance shows names its function, so a call never leaves the project, whatever it says.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from isolet.domain.invocations import Door
from isolet.domain.tokens import is_user_id
from isolet.doors.body import Body
from isolet.doors.butterbase_call import Identity
from isolet.doors.butterbase_errors import call_error_reply
from isolet.doors.http import Headers, Receive, Scope, Send, send_reply
from isolet.doors.request_ids import send_error
from isolet.errors import Forbidden, IsoletError, NotFound
from isolet.ids import FunctionId, new_id
from isolet.invoke.bodies import Bodies
from isolet.invoke.headers import get
from isolet.invoke.invoker import Invoker
from isolet.invoke.request import CallRequest
from isolet.invoke.routes import Route, Routes
from isolet.invoke.spool import Spooled
from isolet.settings import Settings

DEPTH_MAX = 4
_DEPTHS = frozenset(b"%d" % depth for depth in range(1, DEPTH_MAX + 1))
_NOT_PASSED = (b"x-isolet-", b"x-butterbase-", b"x-user-id", b"x-app-id")
_LIMIT = "ctx.invoke loop limit exceeded"


class LoopbackTokens:
    """Tokens are good for one run of the server; nothing of them is stored."""

    def __init__(self) -> None:
        self._secret = os.urandom(32)

    def issue(self, function_id: FunctionId) -> str:
        return f"{function_id}.{self._sign(function_id)}"

    def function_of(self, token: str) -> str | None:
        """The function that the token was issued to."""
        function_id, _, signature = token.partition(".")
        good = hmac.compare_digest(signature.encode(), self._sign(function_id).encode())
        return function_id if good else None

    def _sign(self, function_id: str) -> str:
        return hmac.new(self._secret, function_id.encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Loopback:
    """Plain ASGI."""

    routes: Routes
    invoker: Invoker
    tokens: LoopbackTokens
    bodies: Bodies
    settings: Settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            source = self._source(scope["headers"])
            route = self.routes.named(source.project_id, unquote(scope["raw_path"].decode("latin-1").lstrip("/")))
            if route is None or route.version is None:
                raise NotFound("Function not found")
            self.invoker.admit(route)
            limit = self.settings.max_body_bytes
            with Body(scope, receive, limit=limit, bodies=self.bodies, project_id=route.project_id) as body:
                payload = await body.read()
                reply = await self.invoker.call(route, self._request(scope, source, route, payload, body))
                await send_reply(send, reply)
        except IsoletError as exc:
            await send_error(scope, send, partial(call_error_reply, with_stack=True), exc)

    def _source(self, headers: Headers) -> Route:
        token = get(headers, b"x-isolet-token") or b""
        function_id = self.tokens.function_of(token.decode("latin-1"))
        route = self.routes.function(function_id) if function_id else None
        if route is None:
            raise Forbidden("This is for functions of this server")
        return route

    def _request(self, scope: Scope, source: Route, route: Route, payload: bytes | Spooled, body: Body) -> CallRequest:
        headers: Headers = scope["headers"]
        depth = get(headers, b"x-isolet-depth") or b""
        if depth not in _DEPTHS:
            raise Forbidden(_LIMIT)
        project = self.routes.project(self.routes.slug_of(route.project_id))
        if project is None:
            raise NotFound("Function not found")
        identity = Identity(
            caller="loopback",
            user_id=_user_of(headers),
            scope=f"app:{project.slug}",
            depth=int(depth),
            source=source.name if source.name.isascii() and source.name.isprintable() else source.slug,
        )
        passed = [(name, value) for name, value in headers if not name.startswith(_NOT_PASSED)]
        return CallRequest(
            door=Door.BUTTERBASE,
            method=scope["method"].encode(),
            target=f"/v1/{project.slug}/fn/".encode() + scope["raw_path"].lstrip(b"/"),
            path=f"/v1/{project.slug}/fn{scope['path']}",
            headers=passed,
            own=identity.headers(project),
            body=payload,
            gone=body.gone,
            context=identity.context(function_name=route.name, ip=None, request_id=new_id()),
        )


def _user_of(headers: Headers) -> str | None:
    """Whom the calling function acts for. It can send what it likes here. Raises Forbidden for what no user is."""
    given = get(headers, b"x-isolet-user")
    if not given:
        return None
    user_id = unquote(given.decode("latin-1"))
    if not is_user_id(user_id):
        raise Forbidden("This names no user")
    return user_id


def bind_unix(path: Path) -> socket.socket:
    """A socket at `path`; one that an earlier run left is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bound.bind(str(path))
    bound.setblocking(False)
    return bound
