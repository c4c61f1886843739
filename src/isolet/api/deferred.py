"""An application that is made after the server began to serve, because making it takes long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from isolet.api.asgi import Receive, Scope, Send

Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]
App = TypeVar("App", bound=Asgi)


class Deferred(Generic[App]):
    """`make` runs once, on a thread, when `ready` or the first request asks for it; requests wait for it."""

    def __init__(self, make: Callable[[], App]) -> None:
        self._make = make
        self._making = asyncio.Lock()
        self._made: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._made or await self.ready())(scope, receive, send)

    async def ready(self) -> App:
        async with self._making:
            if self._made is None:
                self._made = await asyncio.to_thread(self._make)
            return self._made
