"""What browsers may do on the origin that all functions share, before any door looks at the request.

A service worker would rule every path below its script, so none is given one. The platform's own pages, which are on
another origin, may call the API from there: without the credentials that browsers add, as a key is typed into the page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from isolet.api import cors
from isolet.api.asgi import Headers, Message, Receive, Scope, Send, send_bytes
from isolet.api.dialects import error_reply
from isolet.api.request_ids import send_error
from isolet.domain.platform_pages import PlatformPages
from isolet.domain.shared_origin import asks_for_worker
from isolet.errors import Forbidden
from isolet.wire.headers import get
from isolet.wire.protocol import WHOLE

_EXPOSED = (b"access-control-expose-headers", b"*")


class OriginGate:
    """Plain ASGI around all doors. `pages` is None when the platform shows none; hosts that `is_own` are not shared."""

    def __init__(self, app: Any, *, pages: PlatformPages | None, is_own: Callable[[Headers], bool]) -> None:
        self._app = app
        self._is_own = is_own
        self._pages = pages

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            headers: Headers = scope["headers"]
            if asks_for_worker(headers) and not self._is_own(headers):
                return _refuse(scope, send)
            origin = get(headers, b"origin")
            if origin is not None and self._is_ours(headers, origin) and not self._is_own(headers):
                if (answer := cors.preflight(headers, [origin.decode("latin-1")], credentials=False)) is not None:
                    return send_bytes(send, 204, b"", answer)
                send = _granting(cors.grant(headers, [origin.decode("latin-1")], credentials=False), send)
        served: Awaitable[None] = self._app(scope, receive, send)
        return served

    def _is_ours(self, headers: Headers, origin: bytes) -> bool:
        asked = (get(headers, b"host") or b"").decode("latin-1")
        return self._pages is not None and self._pages.are(origin.decode("latin-1"), asked)


async def _refuse(scope: Scope, send: Send) -> None:
    path = scope["path"]
    error = Forbidden("Service workers are not possible here: all functions share this origin")
    await send_error(scope, send, lambda told: error_reply(path, told), error)


def _granting(granted: Headers, send: Send) -> Send:
    async def grant(message: Message) -> None:
        if message["type"] in ("http.response.start", WHOLE):
            message["headers"] = cors.add(message["headers"], [*granted, _EXPOSED])
        await send(message)

    return grant
