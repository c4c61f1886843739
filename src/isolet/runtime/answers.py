"""What processes of a project ask the host: a small HTTP server on a unix socket, whose answers are JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

_TIMEOUT_S = 5.0
_HEAD_MAX_BYTES = 16_384


class Answers:
    """`answer` gets a request's target, and may raise LookupError or ValueError for one that it does not know."""

    def __init__(self, path: Path, answer: Callable[[str], Awaitable[Any]]) -> None:
        self.path = path
        self._answer = answer
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        if self._server is None:
            self.path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._serve, self.path, limit=_HEAD_MAX_BYTES)

    def detach(self) -> None:
        """Take no more questions; those under way end by themselves, in time."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                target = head.split(b" ", 2)[1].decode("latin-1")
                body = json.dumps(await self._answer(target)).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, LookupError, ValueError):
            return
        finally:
            writer.close()
