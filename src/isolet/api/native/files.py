"""Sends temporary files, which go when they have been sent, or cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

_CHUNK = 1024 * 1024


class FileReply(StreamingResponse):
    """The content of a file that is there until the stack is closed, as it is when the reply has ended: also that of a
    client which left before its first byte.
    """

    def __init__(
        self, file: Path, stack: AsyncExitStack, *, media_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        told = {**(headers or {}), "content-length": str(file.stat().st_size)}
        super().__init__(_parts(file), media_type=media_type, headers=told)
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._stack:
            await super().__call__(scope, receive, send)


async def _parts(file: Path) -> AsyncIterator[bytes]:
    with file.open("rb") as opened:
        while part := await asyncio.to_thread(opened.read, _CHUNK):
            yield part
