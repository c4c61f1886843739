"""How much is done in one turn of the loop."""

from __future__ import annotations

import asyncio
from collections import Counter


class LoopTurns:
    """Counts the turns of the loop, and in which of them something was noted."""

    def __init__(self) -> None:
        self.noted: list[tuple[int, object]] = []
        self._now = 0
        self._handle = asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._now += 1
        self._handle = asyncio.get_running_loop().call_soon(self._next)

    def note(self, what: object) -> None:
        self.noted.append((self._now, what))

    async def until(self, count: int) -> None:
        """Wait until so many things were noted, and end."""
        async with asyncio.timeout(60):
            while len(self.noted) < count:
                await asyncio.sleep(0)
        self.end()

    def end(self) -> None:
        self._handle.cancel()

    def most(self, what: object = None) -> int:
        """The most that was noted in one turn; of `what` alone where it is given."""
        return max(Counter(turn for turn, noted in self.noted if what in (None, noted)).values())
