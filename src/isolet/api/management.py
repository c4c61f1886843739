"""The application for everything that is not a call: routes of all dialects, health, API pages, error shapes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from isolet import __version__
from isolet.api.asgi import Receive, Scope, Send, dumps
from isolet.api.description import completed
from isolet.api.dialects import error_reply
from isolet.api.paths import unmarked
from isolet.api.reply import Json
from isolet.api.request_ids import HEADER, bound
from isolet.api.rows import LaterRoute, made
from isolet.domain.platform_pages import PlatformPages
from isolet.errors import InvalidInput, IsoletError, MethodNotAllowed, NotFound, RequestError
from isolet.invoke.bodies import Bodies


def build(
    tables: Sequence[Sequence[LaterRoute]],
    *,
    health: Callable[[], dict[str, Any]],
    pages: PlatformPages | None,
    bodies: Bodies,
) -> FastAPI:
    app = FastAPI(title="Isolet", version=__version__, openapi_url=None, redirect_slashes=False)
    for table in tables:
        app.router.routes.extend(table)
    # The framework loads more of itself with the first one, which the loop should not wait for.
    made(app.routes[:1])

    # Monitors ask for the head alone.
    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", tags=["operation"])
    async def healthz() -> dict[str, Any]:
        return health()

    _add_pages(app, pages)
    _describe(app)
    app.state.bodies = bodies
    app.add_exception_handler(IsoletError, _on_error)
    app.add_exception_handler(HTTPException, _on_error)
    app.add_exception_handler(RequestValidationError, _on_error)
    app.add_middleware(_Boundary)
    return app


def _describe(app: FastAPI) -> None:
    """Making the description takes a second, so it is made on a thread, when somebody asks for it; and written once,
    since anybody may ask for it."""

    @completed
    def describe() -> dict[str, Any]:
        return get_openapi(title=app.title, version=app.version, routes=made(app.routes))

    @cache
    def written() -> bytes:
        return dumps(describe())

    async def openapi() -> Response:
        return Response(await asyncio.to_thread(written), media_type="application/json")

    app.openapi = describe  # type: ignore[method-assign]
    app.add_api_route("/openapi.json", openapi, include_in_schema=False)


def _add_pages(app: FastAPI, pages: PlatformPages | None) -> None:
    """Those who look for pages here are sent to where they are: on an origin that no function answers on."""

    async def elsewhere(request: Request) -> RedirectResponse:
        if pages is None:
            raise NotFound("The pages are switched off (ISOLET_DASHBOARD_PORT); /openapi.json describes the API")
        return RedirectResponse(pages.base(request.headers.get("host", "")) + "/docs")

    for path in ("/", "/docs", "/docs/{rest:path}"):
        app.add_api_route(path, elsewhere, methods=["GET", "HEAD"], include_in_schema=False)


async def _on_error(request: Request, error: Exception) -> Response:
    return _render(request.scope["path"], _as_ours(error, request))


def _render(path: str, error: Exception) -> Response:
    told = error_reply(path, error)
    return Json(told.body, status_code=told.status, headers=told.headers)


def _as_ours(error: Exception, request: Request) -> Exception:
    """The web framework's exceptions as ours."""
    if isinstance(error, RequestValidationError):
        problems = error.errors()
        if any(problem["type"] == "json_invalid" for problem in problems):
            return RequestError("Invalid JSON in request")
        first = problems[0]
        place = ".".join(str(part) for part in first["loc"] if part != "body")
        return InvalidInput(f"{place}: {first['msg']}" if place else str(first["msg"]))
    if isinstance(error, HTTPException):
        # What broke off the reading of a body comes wrapped.
        if isinstance(error.__cause__, IsoletError):
            return error.__cause__
        if error.status_code == 405:
            return MethodNotAllowed("Method not allowed", allowed=_allowed(request))
        if error.status_code == 404:
            return NotFound(f"No such path: {unmarked(request.scope['path'])}")
        return RequestError(str(error.detail))
    return error


def _allowed(request: Request) -> tuple[str, ...]:
    """The methods of every route that has the request's path; the framework names those of the first one only."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    found = [route for route in routes if route.matches(request.scope)[0] is Match.PARTIAL]
    return tuple(sorted({method for route in found for method in route.methods or ()}))


class _Boundary:
    """The last stop of an error nobody expected: told in the path's dialect with an id, and logged once.

    Every request has its id here, in what it logs and in its reply.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watch(message: Any) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], (HEADER, request_id.encode())]
            await send(message)

        with bound(scope) as request_id:
            try:
                await self._app(scope, receive, watch)
            except Exception as exc:
                if started:
                    raise
                await _render(scope["path"], exc)(scope, receive, watch)
