"""The other end of a connection, played by a test step by step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

_TIMEOUT_S = 60.0


class Peer(Struct, frozen=True):
    """One accepted connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def head(self) -> bytes:
        """A request up to its empty line."""
        async with asyncio.timeout(_TIMEOUT_S):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def exactly(self, size: int) -> bytes:
        async with asyncio.timeout(_TIMEOUT_S):
            return await self.reader.readexactly(size)

    async def rest(self) -> bytes:
        """Everything until the other end closes; a reset counts as closing."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await self.reader.read()
        except ConnectionResetError:
            return b""

    async def answer(self, data: bytes) -> None:
        await self.head()
        self.writer.write(data)
        await self.writer.drain()

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except (ConnectionResetError, BrokenPipeError):
            return


class Listener:
    def __init__(self) -> None:
        self._accepted: asyncio.Queue[Peer] = asyncio.Queue()
        self.count = 0

    async def accept(self) -> Peer:
        async with asyncio.timeout(_TIMEOUT_S):
            return await self._accepted.get()

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.count += 1
        self._accepted.put_nowait(Peer(reader, writer))


@asynccontextmanager
async def listening(path: Path) -> AsyncIterator[Listener]:
    """A server on a unix socket that does nothing by itself."""
    listener = Listener()
    peers: list[Peer] = []

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(Peer(reader, writer))
        listener.connected(reader, writer)

    server = await asyncio.start_unix_server(connected, path)
    try:
        yield listener
    finally:
        server.close()
        for peer in peers:
            await peer.close()
        await server.wait_closed()
