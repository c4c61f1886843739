"""Calls through the Kapso Functions API on its bases, `/platform/v1` and the older `/api/v1`."""

from __future__ import annotations

from msgspec import Struct

from isolet.access import rates
from isolet.access.callers import Callers
from isolet.api import cors
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
from isolet.api.body import Body, JsonForm
from isolet.api.butterbase.identity import passed_to
from isolet.api.kapso.errors import error_reply
from isolet.api.kapso.wrapped import send_wrapped
from isolet.api.request_ids import send_error
from isolet.domain.access import Role
from isolet.domain.functions import ResponseMode
from isolet.domain.invocations import Door
from isolet.errors import (
    IsoletError,
    MethodNotAllowed,
    NotFound,
    Unauthenticated,
)
from isolet.invoke.bodies import Bodies
from isolet.invoke.invoker import Invoker
from isolet.invoke.request import CallRequest
from isolet.routing.own_cors import OwnCors
from isolet.routing.routes import Route, Routes
from isolet.settings import Settings

PLATFORM = "/platform/v1"
OLDER = "/api/v1"
TAGS = {PLATFORM: "Kapso", OLDER: "Kapso, older base"}
_NOT_FOUND = "Function not found"


class KapsoCalls(Struct, frozen=True, kw_only=True):
    """Plain ASGI on the path of calls; `functions.py` has the management routes."""

    routes: Routes
    callers: Callers
    invoker: Invoker
    own_cors: OwnCors
    bodies: Bodies
    settings: Settings

    async def invoke(self, scope: Scope, receive: Receive, send: Send, function_id: str, prefix: str) -> None:
        """`POST …/functions/{id}/invoke`: the body goes to the function, its reply comes back."""
        granted: Headers = []
        try:
            route = self._callable(scope, function_id, prefix)
            granted, answer = self._cross_origin(scope, route)
            if answer is not None:
                await send_bytes(send, 204, b"", answer)
                return
            if scope["method"] != "POST" and not (_asks_function(scope, route) and await self.own_cors.has(route)):
                raise MethodNotAllowed("Method not allowed", allowed=("POST",))
            self.invoker.admit(route)
            limit = self.settings.max_body_bytes
            with Body(scope, receive, limit=limit, bodies=self.bodies, project_id=route.project_id) as body:
                reply = await self.invoker.call(
                    route,
                    CallRequest(
                        door=Door.KAPSO,
                        method=scope["method"].encode(),
                        target=with_query(scope["raw_path"], scope["query_string"]),
                        path=scope["path"],
                        headers=passed_to(route, scope["headers"]),
                        own=told_to_function(scope),
                        body=await body.read(JsonForm()),
                        scheme=scope["scheme"],
                        origin=origin_of(scope),
                        gone=body.gone,
                        asked=scope["raw_path"],
                    ),
                )
                reply.headers = cors.streaming(cors.add(reply.headers, granted))
                if route.response_mode is ResponseMode.WRAPPED and 200 <= reply.status < 300:
                    await send_wrapped(send, reply, self.bodies, route.project_id, limit=limit)
                else:
                    await send_reply(send, reply)
        except IsoletError as exc:
            await send_error(scope, send, error_reply, exc, granted)

    def _cross_origin(self, scope: Scope, route: Route) -> tuple[Headers, Headers | None]:
        """What is granted to a page of another origin, and the answer to its preflight.

        Only listed origins, and only of functions that anybody may call; all else these functions decide themselves.
        """
        if not route.public:
            return [], None
        project = self.routes.project_of(route.project_id)
        if project is None:
            return [], None
        listed = [origin for origin in project.allowed_origins if origin != cors.ANY]
        answer = cors.preflight(scope["headers"], listed) if scope["method"] == "OPTIONS" else None
        return cors.grant(scope["headers"], listed), answer

    def _callable(self, scope: Scope, function_id: str, prefix: str) -> Route:
        """The function to call, when the caller may. On the newer base nobody learns what exists."""
        route = self.routes.function(function_id.lower())
        principal = self.callers.find(scope["headers"])
        if prefix == OLDER and principal is None:
            raise Unauthenticated("API key is missing or not valid")
        may = route is not None and principal is not None and principal.sees(route.project_id)
        if route is not None and route.public and not may:
            rates.count(scope, route.project_id)
        elif principal is not None:
            rates.count(scope, principal.project_id)
        if route is None or not (route.public or may):
            raise NotFound(_NOT_FOUND)
        if principal is not None and may:
            principal.require(Role.INVOKE, route.project_id)
        return route


def _asks_function(scope: Scope, route: Route) -> bool:
    """Whether it is a browser's question to a function that anybody may call."""
    return scope["method"] == "OPTIONS" and route.public and cors.is_preflight(scope["headers"])
