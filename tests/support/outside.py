"""A web server on 127.0.0.1 that functions may or may not reach."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec import Struct, field


class Outside(Struct):
    """`requests` are the first lines of what came; every reply is `reply`."""

    url: str = ""
    requests: list[str] = field(default_factory=list)
    reply: bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\noutside"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(head.split(b"\r\n")[0].decode())
            writer.write(self.reply)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionResetError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def outside() -> AsyncIterator[Outside]:
    server_side = Outside()
    server = await asyncio.start_server(server_side.serve, "127.0.0.1", 0)
    server_side.url = "http://{}:{}".format(*server.sockets[0].getsockname())
    try:
        yield server_side
    finally:
        server.close()
        await server.wait_closed()
