"""Lets the doors count requests, whatever their dialect, and says in each reply what is left of the minute."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from isolet.access import rates as rate_rules
from isolet.access.open_requests import OpenRequests
from isolet.access.rates import Rates
from isolet.api.asgi import Message, Receive, Scope, Send
from isolet.wire.protocol import WHOLE


class RateGate:
    """Plain ASGI around the gateway. While every project is `unlimited` it only looks whether that is so."""

    def __init__(self, app: Any, *, rates: Rates, opening: OpenRequests) -> None:
        self._app = app
        self._opening = opening
        self._rates = rates

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        rate_rules.opened(scope, self._opening)
        if self._rates.any and scope["type"] == "http":
            rate_rules.begin(scope, self._rates)
            send = _telling(scope, send)
        served: Awaitable[None] = self._app(scope, receive, send)
        return served


def _telling(scope: Scope, send: Send) -> Send:
    async def tell(message: Message) -> None:
        if message["type"] in ("http.response.start", WHOLE):
            message["headers"] = rate_rules.told(scope, message["headers"])
        await send(message)

    return tell
