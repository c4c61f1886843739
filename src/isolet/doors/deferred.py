"""An application that is made after the server began to serve, because making it takes long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from isolet.doors.http import Receive, Scope, Send

Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]


class Deferred:
    """`make` runs once, on a thread, when `prepare` or the first request asks for it; requests wait for it."""

    def __init__(self, make: Callable[[], Asgi]) -> None:
        self._make = make
        self._making = asyncio.Lock()
        self._made: Asgi | None = None

    async def prepare(self) -> None:
        await self._application()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._made or await self._application())(scope, receive, send)

    async def _application(self) -> Asgi:
        async with self._making:
            if self._made is None:
                self._made = await asyncio.to_thread(self._make)
            return self._made
