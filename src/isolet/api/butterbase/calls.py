"""Calls of functions by name: `ANY /v1/{app_id}/fn/{name}`, and the test call of their owner. Plain ASGI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any
from urllib.parse import unquote

from msgspec import Struct
from msgspec.structs import replace

from isolet.access import rates
from isolet.access.callers import Callers, admitted
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
from isolet.api.body import Body, Form, JsonForm, TextAsJsonForm
from isolet.api.butterbase.access import INVOKE, find_project
from isolet.api.butterbase.errors import (
    Refusal,
    call_error_reply,
    error_reply,
    impersonation_disabled,
    impersonation_forbidden,
)
from isolet.api.butterbase.identity import Identity, passed, service_identity
from isolet.api.request_ids import send_error
from isolet.domain.access import Role
from isolet.domain.invocations import SWITCHED, Door, Kind
from isolet.domain.projects import Project
from isolet.domain.public_routes import check_method
from isolet.domain.tokens import TOKEN_MAX_BYTES, is_user_id
from isolet.domain.triggers import HttpAuth
from isolet.errors import (
    ExecutionError,
    IsoletError,
    MethodNotAllowed,
    NoHandler,
    NotFound,
    TooManyRequests,
    Unauthenticated,
)
from isolet.identity.identity import Identities
from isolet.ids import new_id
from isolet.invoke.bodies import Bodies
from isolet.invoke.invoker import Invoker, Reply
from isolet.invoke.request import CallRequest
from isolet.routing.own_cors import OwnCors
from isolet.routing.routes import Route, Routes
from isolet.settings import Settings
from isolet.wire.headers import get

PREFIX = "/v1"
_AS_USER = b"x-butterbase-as-user"


class ButterbaseCalls(Struct, frozen=True, kw_only=True):
    routes: Routes
    callers: Callers
    invoker: Invoker
    identities: Identities
    own_cors: OwnCors
    bodies: Bodies
    settings: Settings

    def find(self, path: bytes) -> Callable[[Scope, Receive, Send], Awaitable[None]] | None:
        """What serves a raw path that begins with `/v1/`, when it is the path of a call."""
        parts = path.split(b"/")
        if len(parts) == 5 and parts[3] == b"fn" and parts[2] and parts[4]:
            return self.call
        if len(parts) == 6 and parts[3] == b"functions" and parts[5] == b"invoke" and parts[2] and parts[4]:
            return self.invoke
        return None

    async def call(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The public route: every method, for whom the function's http trigger lets in."""
        headers: Headers = scope["headers"]
        granted: Headers = []
        identity = Identity()
        try:
            project, name = self._place(scope)
            if project is None:
                raise NotFound("Function not found")
            route = self.routes.named(project.id, name)
            allowed = await self._allowed(headers, project, route)
            if scope["method"] == "OPTIONS":
                answer = cors.preflight(headers, _for_preflight(project, route, allowed))
                if answer is not None:
                    await send_bytes(send, 204, b"", answer)
                    return
            granted = cors.grant(headers, allowed)
            if route is None or route.http_auth is None or route.version is None:
                raise NotFound("Function not found")
            check_method(scope["method"])
            identity = await self._identify(scope, project, route)
            if route.http_auth is HttpAuth.REQUIRED and identity.caller == "anonymous":
                raise Unauthenticated("This function needs a signed-in user or an API key")
            rates.count(scope, None if identity.scope == "*" else project.id)
            self.invoker.admit(route)
            with self._body(scope, receive, project) as body:
                payload = await body.small_or_parts()
                request = self._request(scope, project, route, identity, passed(headers), payload, body)
                if (upgrade := websocket.wanted(scope)) is not None:
                    websocket.check(scope)
                    request.headers = websocket.admitted(request.headers, project.allowed_origins)
                    request.kind, request.event = Kind.WEBSOCKET, replace(request.event, upgrade=True)
                reply = await self.invoker.call(route, request)
                if upgrade is not None and reply.status == SWITCHED:
                    reply.headers = rates.told(scope, reply.headers)
                    await reply.splice(upgrade, idle_timeout_s=self.settings.websocket_idle_timeout_s)
                    return
                reply.headers = cors.add(cors.streaming(reply.headers), granted)
                await send_reply(send, reply)
        except (IsoletError, Refusal) as exc:
            render = partial(call_error_reply, with_stack=identity.caller == "service_key")
            await send_error(scope, send, render, exc, granted)

    async def invoke(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The owner's test call: a POST of JSON whatever the triggers say; status, content type and body come back."""
        try:
            project, name = self._place(scope)
            principal = self.callers.require(scope)
            project = admitted(principal, project, INVOKE)
            if scope["method"] != "POST":
                raise MethodNotAllowed("Method not allowed", allowed=("POST",))
            route = self.routes.named(project.id, name)
            if route is None or route.version is None:
                raise NotFound(f"Function {name!r} not found")
            identity = self._impersonate(scope["headers"], service_identity(principal, project), route)
            self.invoker.admit(route)
            with self._body(scope, receive, project) as body:
                payload = await body.read(_test_form(scope["headers"])) or b"{}"
                ours: Headers = [(b"host", get(scope["headers"], b"host") or b"localhost")]
                ours.append((b"content-type", b"application/json"))
                request = self._request(scope, project, route, identity, ours, payload, body)
                request.target = f"{PREFIX}/{project.slug}/fn/".encode() + scope["raw_path"].split(b"/")[4]
                reply = await self.invoker.call(route, request)
                reply.headers = _of_test_call(reply)
                await send_reply(send, reply)
        except (IsoletError, Refusal) as exc:
            await send_error(scope, send, partial(call_error_reply, with_stack=True) if _ran(exc) else error_reply, exc)

    async def _allowed(self, headers: Headers, project: Project, route: Route | None) -> Sequence[str]:
        if route is None:
            return project.allowed_origins
        return await cors.rules_for(route, headers, project.allowed_origins, self.own_cors)

    def _body(self, scope: Scope, receive: Receive, project: Project) -> Body:
        limit = self.settings.max_body_bytes
        return Body(scope, receive, limit=limit, bodies=self.bodies, project_id=project.id)

    def _place(self, scope: Scope) -> tuple[Project | None, str]:
        _, _, app, _, name, *_ = scope["raw_path"].split(b"/")
        return find_project(self.routes, unquote(app.decode("latin-1"))), unquote(name.decode("latin-1"))

    async def _identify(self, scope: Scope, project: Project, route: Route) -> Identity:
        """Who calls; a key of another project is nobody's. Raises TooManyRequests."""
        headers: Headers = scope["headers"]
        token = bearer(headers)
        principal = self.callers.find(headers)
        identity = Identity()
        if principal is not None and principal.sees(project.id):
            principal.require(Role.INVOKE, project.id)
            identity = service_identity(principal, project)
        elif token and len(token) <= TOKEN_MAX_BYTES:
            # The keys of tokens may have to be fetched first.
            rates.hold(scope, project.id)
            user_id = await self.identities.user(project.id, token)
            if user_id is not None:
                identity = Identity(caller="end_user_jwt", user_id=user_id)
        return self._impersonate(headers, identity, route)

    def _impersonate(self, headers: Headers, identity: Identity, route: Route) -> Identity:
        value = get(headers, _AS_USER)
        if value is None:
            return identity
        if identity.caller != "service_key" or identity.scope == "*":
            raise impersonation_forbidden("X-Butterbase-As-User needs a key of this app")
        if not route.impersonation:
            raise impersonation_disabled()
        user_id = value.decode("utf-8", "replace").strip()
        if not is_user_id(user_id):
            raise impersonation_forbidden("X-Butterbase-As-User names no user")
        return identity.as_user(user_id)

    def _request(
        self,
        scope: Scope,
        project: Project,
        route: Route,
        identity: Identity,
        headers: Headers,
        payload: Any,
        body: Body,
    ) -> CallRequest:
        client = scope.get("client")
        request_id = get(scope["headers"], b"x-request-id")
        if request_id is not None and self.invoker.own_keys.hold(request_id):
            request_id = None
        return CallRequest(
            door=Door.BUTTERBASE,
            method=scope["method"].encode(),
            target=with_query(scope["raw_path"], scope["query_string"]),
            path=scope["path"],
            headers=headers,
            own=[*told_to_function(scope), *identity.headers(project)],
            body=payload,
            scheme=scope["scheme"],
            origin=origin_of(scope, user_id=identity.user_id),
            gone=body.gone,
            asked=scope["raw_path"],
            event=identity.event(
                function_name=route.name,
                ip=client[0] if client else None,
                request_id=request_id.decode("latin-1") if request_id else new_id(),
            ),
        )


def _for_preflight(project: Project, route: Route | None, allowed: Sequence[str]) -> Sequence[str]:
    """The origins whose preflight the platform answers.

    A preflight has no credentials, so it can never reach a function that needs them; its real request can.
    """
    if route is not None and route.http_auth is HttpAuth.REQUIRED:
        return project.allowed_origins
    return allowed


def _test_form(headers: Headers) -> Form:
    """The test call's body: JSON as it came, other text as a JSON string."""
    return TextAsJsonForm() if (get(headers, b"content-type") or b"").startswith(b"text/plain") else JsonForm()


def _of_test_call(reply: Reply) -> Headers:
    kept = frozenset(
        {
            b"content-type",
            b"content-length",
            b"content-encoding",
            b"content-security-policy",
            b"x-content-type-options",
            b"x-invocation-id",
        }
    )
    return cors.streaming([(name, value) for name, value in reply.headers if name in kept])


def _ran(error: Exception) -> bool:
    return isinstance(error, ExecutionError | NoHandler | TooManyRequests)
