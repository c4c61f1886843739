"""The application of the pages' listener: `/docs` and `/dashboard`, under a policy that lets nothing else in.

It knows the API by its contract, its description and its address.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from isolet.dashboard import guides
from isolet.dashboard.pages import SECTIONS
from isolet.dashboard.policy import Guarded
from isolet.dashboard.relay import PREFIX, Relay
from isolet.dashboard.rendering import Rendering
from isolet.dashboard.site import Desk, Site
from isolet.wire.headers import get

_STATIC = Path(__file__).parent / "static"
# Of the package of the API pages only these: it also brings pages that are meant for other servers.
_ASSETS = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")
_DOCS = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Isolet API</title>
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
<link rel="icon" href="/docs/assets/favicon-32x32.png">
</head>
<body>
<p><a href="/docs/guide/">Guides</a></p>
<div id="swagger-ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/docs.js"></script>
</body>
</html>
"""


def build(
    desk: Desk,
    *,
    describe: Callable[[], Awaitable[dict[str, Any]]],
    docs_assets: Path,
    is_functions: Callable[[bytes], bool],
) -> Any:
    """Plain ASGI. `describe` gives the description of the API; `docs_assets` is where its pages' files are.

    `is_functions` tells a `Host` under which a function answers: there pages would ask that, and not the API.
    """
    site = Site(desk=desk, rendering=Rendering(desk.built, SECTIONS))
    pages = desk.pages

    async def home(_: Request) -> Response:
        return RedirectResponse("/docs")

    async def docs(_: Request) -> Response:
        return HTMLResponse(_DOCS)

    written: list[bytes] = []

    async def description(request: Request) -> Response:
        if not written:
            # Once: it is large, and anybody may ask for it.
            written.append(await asyncio.to_thread(lambda told: json.dumps(told).encode(), await describe()))
        servers = json.dumps([{"url": pages.api_base(request.headers.get("host", ""))}]).encode()
        return Response(b'{"servers": %b, %b' % (servers, written[0][1:]), media_type="application/json")

    async def script(_: Request) -> Response:
        return FileResponse(_STATIC / "docs.js", media_type="text/javascript")

    async def styles(_: Request) -> Response:
        return FileResponse(_STATIC / "guide.css", media_type="text/css")

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        return FileResponse(docs_assets / name) if name in _ASSETS else Response("Not found", 404)

    routes = [
        Route("/", home),
        Route("/docs", docs),
        Route("/docs/openapi.json", description),
        Route("/docs/docs.js", script),
        Route("/docs/guide.css", styles),
        Route("/docs/assets/{name}", asset),
        *guides.routes(),
        *site.routes_of(SECTIONS),
    ]
    return Guarded(_Choice(Relay(site), Starlette(routes=routes), is_functions), pages)


class _Choice:
    """Requests of the pages' scripts go straight to the API. Under the name of a function there are no pages."""

    def __init__(self, relay: Relay, pages: Starlette, is_functions: Callable[[bytes], bool]) -> None:
        self._relay = relay
        self._pages = pages
        self._is_functions = is_functions

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._is_functions(get(scope["headers"], b"host") or b""):
            await PlainTextResponse("Not found", 404)(scope, receive, send)
            return
        served = self._relay if scope["raw_path"].startswith(PREFIX.encode()) else self._pages
        await served(scope, receive, send)
