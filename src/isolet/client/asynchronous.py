"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import httpx

from isolet.client.connection import TIMEOUT_S, arguments, options, reaching
from isolet.client.errors import error_of
from isolet.client.messages import Events, request_of, value_of
from isolet.client.resources import Resources
from isolet.contract.operations import AnyOperation, Async


class AsyncClient(Resources[Async]):
    """As `Client`; its methods are awaited."""

    def __init__(self, url: str, key: str, *, timeout_s: float = TIMEOUT_S) -> None:
        """Raises ApiError for an address or a key that makes no request."""
        super().__init__(self)
        self._url, self._timeout_s = url, timeout_s
        with reaching(url):
            self._http = httpx.AsyncClient(**options(url, key, timeout_s))

    async def call(self, operation: AnyOperation, arguments_: Mapping[str, Any]) -> Any:
        """Send any operation of the contract."""
        with reaching(self._url):
            reply = await self._http.request(**arguments(request_of(operation, arguments_), self._timeout_s))
        return value_of(operation, reply.status_code, reply.headers, reply.content)

    @asynccontextmanager
    async def follow(self, stream: AnyOperation, arguments_: Mapping[str, Any]) -> AsyncIterator[AsyncIterator[Any]]:
        """Open any stream of the contract."""
        with reaching(self._url):
            async with self._http.stream(**arguments(request_of(stream, arguments_), self._timeout_s)) as reply:
                if not reply.is_success:
                    raise error_of(reply.status_code, reply.headers, await reply.aread())
                yield reply.aiter_bytes() if stream.reply is bytes else _events(stream, reply)

    async def close(self) -> None:
        await self._http.aclose()
        # Transports tell of their end in the loop's next turn, which is the last one of a loop that ends now.
        await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def _events(stream: AnyOperation, reply: httpx.Response) -> AsyncIterator[Any]:
    events = Events(stream)
    async for line in reply.aiter_lines():
        for event in events.feed(line):
            yield event
