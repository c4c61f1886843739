"""What every reply of the pages' listener tells the browser: nothing runs, loads or frames but what is served here."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import Request

from isolet.domain.platform_pages import PlatformPages, origin_of

# `nonce` is for the styles that the editor makes as it runs.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'{nonce}; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'{api}; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
# What is passed on from functions and stores is shown by scripts as text, and is nothing when it is opened by itself.
INERT = "default-src 'none'; sandbox; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
NONCE = "isolet.nonce"


class Guarded:
    """Every reply has the policy, those of errors too."""

    def __init__(self, app: Any, pages: PlatformPages) -> None:
        self._app = app
        self._pages = pages

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("content-security-policy", self._policy(scope))
                headers.setdefault("cache-control", "no-cache")
                headers.update(_HEADERS)
            await send(message)

        await self._app(scope, receive, guarded)

    def _policy(self, scope: Any) -> str:
        """Only the pages of the API call it where functions answer; the dashboard asks here."""
        api = ""
        if not scope["path"].startswith("/dashboard"):
            asked = Request(scope).headers.get("host", "")
            api = " " + origin_of(self._pages.api_base(asked))
        nonce = f" 'nonce-{scope[NONCE]}'" if NONCE in scope else ""
        return _POLICY.format(api=api, nonce=nonce)
