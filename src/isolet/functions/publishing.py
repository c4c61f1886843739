"""Versions on their way to being live: on disk already, perhaps, but not yet where calls find them.

Who reads a function's state from the store waits for them, so that what it says is deployed can be called.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from isolet.ids import FunctionId


class Publishing:
    """One of a function at a time: deploys of one function follow each other."""

    def __init__(self) -> None:
        self._running: dict[FunctionId, asyncio.Event] = {}

    @contextmanager
    def of(self, function_id: FunctionId) -> Iterator[None]:
        ended = self._running[function_id] = asyncio.Event()
        try:
            yield
        finally:
            del self._running[function_id]
            ended.set()

    async def settled(self, function_id: FunctionId) -> None:
        """Wait for what is under way. Asked after a read, it covers all that the read could have seen."""
        running = self._running.get(function_id)
        if running is not None:
            await running.wait()
