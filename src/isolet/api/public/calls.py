"""Calls of functions at their public addresses: every method, any path below, any body. Plain ASGI."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from isolet.access import rates
from isolet.access.callers import Callers
from isolet.access.credentials import bearer
from isolet.api import cors, websocket
from isolet.api.asgi import (
    Headers,
    Receive,
    Scope,
    Send,
    origin_of,
    send_bytes,
    send_reply,
    told_to_function,
    with_query,
)
from isolet.api.body import Body
from isolet.api.butterbase.identity import passed_to
from isolet.api.native.errors import error_reply
from isolet.api.request_ids import request_id_of, send_error
from isolet.clock import Clock
from isolet.domain.access import Role
from isolet.domain.invocations import SWITCHED, ConsoleLine, Door, Kind
from isolet.domain.projects import Project
from isolet.domain.public_routes import (
    Access,
    CorsRules,
    HostNames,
    Place,
    check_method,
    check_path,
    labels_of,
    plain_host,
    shared_place,
)
from isolet.errors import IsoletError, NotFound, Unauthenticated
from isolet.identity.identity import Identities, TokenRefused
from isolet.ids import new_id
from isolet.invoke.bodies import Bodies
from isolet.invoke.invoker import Invoker
from isolet.invoke.request import CallRequest
from isolet.observe.recorder import Recorder
from isolet.routing.own_cors import OwnCors
from isolet.routing.routes import Route, Routes
from isolet.runtime.envelope import Event, EventName
from isolet.settings import Settings
from isolet.telemetry import get_logger
from isolet.wire.headers import get

PREFIX = b"/f/"
_FORWARDED_HOST, _FORWARDED_PROTO = b"x-forwarded-host", b"x-forwarded-proto"
_NOT_FOUND = "Function not found"

log = get_logger("doors")


class Caller(Struct, frozen=True, kw_only=True):
    """Who calls, as `ctx` shows it. `is_root` callers count against no project's rate."""

    type: str = "anonymous"
    key_id: str | None = None
    user_id: str | None = None
    claims: dict[str, Any] | None = None
    is_root: bool = False

    def context(self, *, function: str, ip: str | None, request_id: str) -> dict[str, Any]:
        user = None if self.user_id is None else {"id": self.user_id, "claims": self.claims or {}}
        return {
            "user": user,
            "caller": {"type": self.type, "keyId": self.key_id, "scope": None, "userId": self.user_id},
            "request": {"id": request_id, "ip": ip, "country": None, "functionName": function},
            "depth": 0,
        }


class PublicCalls(Struct, frozen=True, kw_only=True):
    routes: Routes
    callers: Callers
    invoker: Invoker
    own_cors: OwnCors
    identities: Identities
    bodies: Bodies
    recorder: Recorder
    clock: Clock
    hosts: HostNames
    settings: Settings

    def is_own_host(self, headers: Headers) -> bool:
        """Whether the request's host is one that belongs to a function, or would, below the functions' domain."""
        host = plain_host(get(headers, b"host") or b"")
        return self.routes.at_host(host) is not None or self.hosts.label_of(host) is not None

    def at_host(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """A request for a host of a function's own."""
        return self._serve(scope, receive, send, shared=False)

    def below_prefix(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """A request for `/f/…` on the host that all functions share."""
        return self._serve(scope, receive, send, shared=True)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, *, shared: bool) -> None:
        headers: Headers = scope["headers"]
        granted: Headers = []
        try:
            project, route, place = self._locate(scope, shared=shared)
            check_method(scope["method"])
            preflight = scope["method"] == "OPTIONS" and cors.is_preflight(headers)
            if route.cors is CorsRules.PLATFORM:
                granted, answer = await self._cross_origin(headers, project, route)
                if preflight and answer is not None:
                    await send_bytes(send, 204, b"", answer)
                    return
            # A preflight has no credentials, and the function said that it answers it.
            caller = Caller() if preflight else await self._identify(scope, project, route)
            rates.count(scope, None if caller.is_root else project.id)
            self.invoker.admit(route)
            await self._call(scope, receive, send, project, route, place, caller, granted)
        except IsoletError as exc:
            await send_error(scope, send, error_reply, exc, granted)

    async def _cross_origin(self, headers: Headers, project: Project, route: Route) -> tuple[Headers, Headers | None]:
        """What is granted to a page of another origin, and the answer to its preflight; None: the function's.

        A preflight has no credentials, so it never reaches a function that needs them.
        """
        listed = project.allowed_origins
        allowed = await cors.rules_for(route, headers, listed, self.own_cors)
        granted = cors.grant(headers, allowed)
        if not cors.is_preflight(headers):
            return granted, None
        if allowed is not listed and route.access is Access.PUBLIC:
            return granted, cors.preflight(headers, allowed)
        answer = cors.preflight(headers, listed)
        return granted, granted if answer is None else answer

    async def _call(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        project: Project,
        route: Route,
        place: Place,
        caller: Caller,
        granted: Headers,
    ) -> None:
        limit = self.settings.max_body_bytes
        with Body(scope, receive, limit=limit, bodies=self.bodies, project_id=project.id) as body:
            payload = await body.small_or_parts()
            request = self._request(scope, route, place, caller, payload, body)
            if (upgrade := websocket.wanted(scope)) is not None:
                websocket.check(scope)
                if route.cors is CorsRules.PLATFORM:
                    request.headers = websocket.admitted(request.headers, project.allowed_origins)
                request.kind, request.event = Kind.WEBSOCKET, replace(request.event, upgrade=True)
            reply = await self.invoker.call(route, request)
            if upgrade is not None and reply.status == SWITCHED:
                reply.headers = rates.told(scope, reply.headers)
                await reply.splice(upgrade, idle_timeout_s=self.settings.websocket_idle_timeout_s)
                return
            reply.headers = cors.streaming(cors.add(reply.headers, granted))
            await send_reply(send, reply)

    def _locate(self, scope: Scope, *, shared: bool) -> tuple[Project, Route, Place]:
        """Raises NotFound for what is not there, or has no public address; RequestError for a path that is not safe."""
        raw_path: bytes = scope["raw_path"]
        places = [shared_place(raw_path)] if shared else self._at_host(scope["headers"], raw_path)
        for place in places:
            if place is None:
                continue
            project = self.routes.default_project if place.project is None else self.routes.project(place.project)
            route = self.routes.named(project.id, place.function) if project is not None else None
            if project is not None and route is not None and route.access is not Access.NONE:
                return project, route, place
        raise NotFound(_NOT_FOUND)

    def _at_host(self, headers: Headers, raw_path: bytes) -> list[Place | None]:
        check_path(raw_path)
        host = plain_host(get(headers, b"host") or b"")
        if (claimed := self.routes.at_host(host)) is not None:
            return [Place(project=self.routes.slug_of(claimed.project_id), function=claimed.slug, path=raw_path)]
        label = self.hosts.label_of(host)
        return [
            Place(project=project, function=function, path=raw_path) for function, project in labels_of(label or "")
        ]

    async def _identify(self, scope: Scope, project: Project, route: Route) -> Caller:
        """Who calls. Raises Unauthenticated, Forbidden, TooManyRequests; why a token was refused the operator sees."""
        headers: Headers = scope["headers"]
        principal = self.callers.find(headers)
        if principal is not None and principal.sees(project.id):
            principal.require(Role.INVOKE, project.id)
            return Caller(type="service_key", key_id=principal.key_id, is_root=principal.is_root)
        token = bearer(headers)
        if route.access is Access.KEY:
            raise Unauthenticated("This function needs an API key of its project")
        if token is None:
            if route.access is Access.USER:
                raise Unauthenticated("This function needs a signed-in user")
            return Caller()
        # The keys of tokens may have to be fetched first.
        rates.hold(scope, project.id)
        try:
            user = await self.identities.verify(project.id, token)
        except TokenRefused as exc:
            if route.access is Access.PUBLIC:
                return Caller()
            self._report(project, route, exc.reason)
            raise Unauthenticated("This function needs a signed-in user") from exc
        return Caller(type="end_user_jwt", user_id=user.id, claims=dict(user.claims))

    def _report(self, project: Project, route: Route, reason: str) -> None:
        """A line in the server's log, and in the function's live log."""
        log.info("refused a token", reason=reason, function_id=route.function_id, project=project.slug)
        line = ConsoleLine(level="warn", message=f"A token was refused: {reason}", at_ms=self.clock.now_ms())
        self.recorder.print_own((project.id, route.function_id, route.name), line)

    def _request(
        self, scope: Scope, route: Route, place: Place, caller: Caller, payload: Any, body: Body
    ) -> CallRequest:
        client, request_id = scope.get("client"), request_id_of(scope)
        if self.invoker.own_keys.hold(request_id.encode()):
            request_id = new_id()
        context = caller.context(function=route.name, ip=client[0] if client else None, request_id=request_id)
        return CallRequest(
            door=Door.PUBLIC,
            method=scope["method"].encode(),
            target=with_query(place.path, scope["query_string"]),
            path=scope["path"],
            headers=passed_to(route, scope["headers"]),
            own=_told(scope, place),
            body=payload,
            scheme=scope["scheme"],
            origin=origin_of(scope, user_id=caller.user_id),
            gone=body.gone,
            event=Event.of(EventName.FETCH, context),
            own_origin=not place.prefix,
            asked=scope["raw_path"],
        )


def _told(scope: Scope, place: Place) -> Headers:
    """What a function is told of the request that came to the platform."""
    told = list(told_to_function(scope))
    if get(told, _FORWARDED_PROTO) is None:
        told.append((_FORWARDED_PROTO, scope["scheme"].encode()))
    if get(told, _FORWARDED_HOST) is None and (host := get(scope["headers"], b"host")):
        told.append((_FORWARDED_HOST, host))
    if place.prefix:
        told.append((b"x-forwarded-prefix", place.prefix))
    return told
