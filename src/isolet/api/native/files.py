"""Sends temporary files, which go when they have been sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

_CHUNK = 1024 * 1024


async def parts(file: Path, stack: AsyncExitStack) -> AsyncIterator[bytes]:
    """The content of a file that is there until the stack is closed."""
    async with stack:
        with file.open("rb") as opened:
            while part := await asyncio.to_thread(opened.read, _CHUNK):
                yield part
