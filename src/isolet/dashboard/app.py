"""The application of the pages' listener: `/docs`, under a policy that lets nothing in but what is served here.

It knows the API only by its description and its address.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from isolet.domain.platform_pages import PlatformPages, origin_of

_STATIC = Path(__file__).parent / "static"
# Of the package of the API pages only these: it also brings pages that are meant for other servers.
_ASSETS = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self' {api}; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}
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
<div id="swagger-ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/docs.js"></script>
</body>
</html>
"""


def build(pages: PlatformPages, *, describe: Callable[[], Awaitable[dict[str, Any]]], docs_assets: Path) -> Any:
    """Plain ASGI. `describe` gives the description of the API; `docs_assets` is where its pages' files are."""

    async def home(_: Request) -> Response:
        return RedirectResponse("/docs")

    async def docs(_: Request) -> Response:
        return HTMLResponse(_DOCS)

    async def description(request: Request) -> Response:
        servers = [{"url": pages.api_base(request.headers.get("host", ""))}]
        return JSONResponse({**await describe(), "servers": servers})

    async def script(_: Request) -> Response:
        return FileResponse(_STATIC / "docs.js", media_type="text/javascript")

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        return FileResponse(docs_assets / name) if name in _ASSETS else Response("Not found", 404)

    routes = [
        Route("/", home),
        Route("/docs", docs),
        Route("/docs/openapi.json", description),
        Route("/docs/docs.js", script),
        Route("/docs/assets/{name}", asset),
    ]
    return _Guarded(Starlette(routes=routes), pages)


class _Guarded:
    """Every reply has the policy, those of errors too."""

    def __init__(self, app: Any, pages: PlatformPages) -> None:
        self._app = app
        self._pages = pages

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        asked = Request(scope).headers.get("host", "")
        policy = _POLICY.format(api=origin_of(self._pages.api_base(asked)))

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["content-security-policy"] = policy
                headers.update(_HEADERS)
            await send(message)

        await self._app(scope, receive, guarded)
