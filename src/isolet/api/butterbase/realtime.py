"""The handshake of live connections at `/v1/{app_id}/realtime`. Plain ASGI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, unquote

from msgspec import Struct

from isolet.access import rates
from isolet.access.credentials import api_key, bearer
from isolet.access.rates import Rates
from isolet.api import websocket
from isolet.api.asgi import Headers, Receive, Scope, Send
from isolet.api.butterbase.access import find_project
from isolet.api.butterbase.errors import error_reply
from isolet.api.request_ids import send_error
from isolet.api.visitors import visitor_of
from isolet.domain.projects import Project
from isolet.errors import IsoletError, NotFound, UpgradeRequired
from isolet.identity.identity import TokenRefused
from isolet.realtime.connection import AUTH_FAILED, POLICY
from isolet.realtime.identity import Identity
from isolet.realtime.service import Realtime
from isolet.routing.routes import Routes
from isolet.telemetry import get_logger
from isolet.wire.headers import get

log = get_logger("realtime")

_PROTOCOL = "isolet"
_TOKEN_PROTOCOL = "token."  # noqa: S105
_NOBODY = Identity()


class RealtimeHandshakes(Struct, frozen=True, kw_only=True):
    """Pages of every origin may connect: nothing that a browser adds by itself says who they are."""

    routes: Routes
    realtime: Realtime

    def find(self, path: bytes) -> Callable[[Scope, Receive, Send], Awaitable[None]] | None:
        """What serves a raw path that begins with `/v1/`, when it is this one's."""
        parts = path.split(b"/")
        return self.serve if len(parts) == 4 and parts[3] == b"realtime" and parts[2] else None

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        app_id = unquote(scope["raw_path"].split(b"/")[2].decode("latin-1"))
        try:
            project = find_project(self.routes, app_id)
            if project is None:
                raise NotFound("App not found")
            upgrade = websocket.wanted(scope)
            if upgrade is None:
                raise UpgradeRequired("Connect here by WebSocket")
            websocket.check(scope)
            identity = await self._identify(scope, project)
            rates.count(scope, None if identity is not None and identity.is_root else project.id)
        except IsoletError as exc:
            await send_error(scope, send, error_reply, exc)
            return
        connection = self.realtime.connect(
            project, app_id=app_id, visitor=visitor_of(scope), identity=identity or _NOBODY
        )
        upgrade.accept(
            [*websocket.switching(scope, _chosen(scope["headers"])), *rates.headers_of(scope)], connection.socket
        )
        if identity is None:
            connection.turn_away(AUTH_FAILED, POLICY, "Auth failed")
        else:
            connection.enter(self.realtime.most_connections(project.id))
        await connection.run()

    async def _identify(self, scope: Scope, project: Project) -> Identity | None:
        """Nobody without a token; None for a token that is not good."""
        token = _token(scope)
        if not token:
            return _NOBODY
        if self.routes.principal(token) is None:
            # The keys of tokens may have to be fetched first.
            rates.hold(scope, project.id)
        try:
            return await self.realtime.identify(project.id, token)
        except TokenRefused as exc:
            log.info("refused a token", reason=exc.reason, project=project.slug)
            return None


def _token(scope: Scope) -> str:
    """A key or a token: from the headers, the query, or among the subprotocols, which browsers can send."""
    headers: Headers = scope["headers"]
    if given := bearer(headers) or api_key(headers):
        return given
    query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
    offered = (one.removeprefix(_TOKEN_PROTOCOL) for one in _offered(headers) if one.startswith(_TOKEN_PROTOCOL))
    return query.get("token") or next(offered, "")


def _offered(headers: Headers) -> list[str]:
    value = (get(headers, b"sec-websocket-protocol") or b"").decode("latin-1")
    return [part.strip() for part in value.split(",")]


def _chosen(headers: Headers) -> str | None:
    return _PROTOCOL if _PROTOCOL in _offered(headers) else None


def counting(rates_: Rates) -> Callable[[Any], bool]:
    """Counts an event for its project's rate; False when its minute is used up."""

    def count(project_id: Any) -> bool:
        allowance = rates_.take(project_id)
        return allowance is None or allowance.allowed

    return count
