"""Counts every request that comes with a project's key, whatever its dialect, and refuses those over its plan."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from typing import Any

from isolet.doors.authentication import api_key, bearer
from isolet.doors.dialects import error_reply
from isolet.doors.http import Message, Receive, Scope, Send, send_bytes
from isolet.errors import TooManyRequests
from isolet.invoke.rates import WINDOW_S, Rates
from isolet.invoke.routes import Routes
from isolet.protocol import WHOLE


class RateGate:
    """Plain ASGI around the gateway. While every project is `unlimited` it only looks whether that is so."""

    def __init__(self, app: Any, *, routes: Routes, rates: Rates) -> None:
        self._app = app
        self._routes = routes
        self._rates = rates

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if not self._rates.any or scope["type"] != "http":
            served: Awaitable[None] = self._app(scope, receive, send)
            return served
        return self._count(scope, receive, send)

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = scope["headers"]
        principal = self._routes.principal(api_key(headers) or bearer(headers))
        allowance = self._rates.take(principal) if principal is not None else None
        if allowance is None:
            await self._app(scope, receive, send)
            return

        async def send_counted(message: Message) -> None:
            if message["type"] in ("http.response.start", WHOLE):
                message["headers"] = [*message["headers"], *allowance.headers]
            await send(message)

        if allowance.allowed:
            await self._app(scope, receive, send_counted)
        else:
            await _refuse(scope, send_counted, allowance.limit)


async def _refuse(scope: Scope, send: Send, limit: int) -> None:
    error = TooManyRequests(f"Rate limit exceeded: {limit} requests a minute", retry_after_s=WINDOW_S)
    told = error_reply(scope["path"], error)
    headers = [(b"content-type", b"application/json")]
    headers += [(name.encode(), value.encode()) for name, value in told.headers.items()]
    await send_bytes(send, told.status, json.dumps(told.body).encode(), headers)
