"""`/dashboard/api/…`: the native API for the scripts of pages, with the rights of the session.

Every request needs the token of the session's forms in a header, which no other site can send, and no address that is
opened by itself has. What comes back is inert where a browser would show it.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from isolet.access import rates
from isolet.dashboard import guards
from isolet.dashboard.in_process import Receive, Scope, Send
from isolet.dashboard.policy import INERT
from isolet.dashboard.site import Site, later_of
from isolet.errors import IsoletError, TooManyRequests
from isolet.wire.protocol import WHOLE

PREFIX = "/dashboard/api/"
_API = "/isolet/v1/"
_PASSED = frozenset({b"content-type", b"accept", b"last-event-id"})
# A browser writes every reply with another status than a good one into its console. That a deploy fails is no fault of
# the page, so the status is here, and the reply's own is 200.
_STATUS = b"x-api-status"
_KEPT = frozenset({b"content-type", b"retry-after", b"x-request-id"})


class Relay:
    """Plain ASGI."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        found = await self._site.signed_in(request)
        try:
            if found is None:
                raise _Refused("You are not signed in any more", 401)
            session, principal = found
            self._check(request, self._site.desk.sessions.form_token(session))
            rates.count(scope, principal.project_id)
        except IsoletError as exc:
            told = {"error": {"code": exc.code, "message": exc.message}}
            await JSONResponse(told, _status(exc), headers=later_of(exc))(scope, receive, send)
            return
        await self._pass(request, self._site.api_of(request, session), receive, send)

    def _check(self, request: Request, token: str) -> None:
        """Raises Forbidden."""
        guards.check_token(request.headers.get(guards.TOKEN_HEADER), token)
        if request.method != "GET" or "sec-fetch-site" in request.headers:
            guards.check_origin(request, self._site.desk.pages)

    async def _pass(self, request: Request, api: Any, receive: Receive, send: Send) -> None:
        raw: bytes = request.scope["raw_path"]
        target = _API + raw[len(PREFIX) :].decode("ascii")
        if query := request.scope["query_string"].decode("ascii"):
            target += "?" + query
        headers = [(name, value) for name, value in request.scope["headers"] if name in _PASSED]
        length = request.headers.get("content-length")

        async def pass_on(message: Any) -> None:
            if message["type"] not in ("http.response.start", WHOLE):
                await send(message)
                return
            kept = [(name, value) for name, value in message.get("headers", ()) if name in _KEPT]
            kept += [(b"content-security-policy", INERT.encode()), (b"cache-control", b"no-store")]
            kept.append((_STATUS, b"%d" % message["status"]))
            await send({"type": "http.response.start", "status": 200, "headers": kept})
            if message["type"] == WHOLE:
                await send({"type": "http.response.body", "body": message["body"]})

        with api.request(request.method, target, headers, length=None if length is None else int(length)) as inner:
            await api(inner, receive, pass_on)


def _status(error: IsoletError) -> int:
    if isinstance(error, _Refused):
        return error.status
    return 429 if isinstance(error, TooManyRequests) else 403


class _Refused(IsoletError):
    code = "unauthenticated"

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
