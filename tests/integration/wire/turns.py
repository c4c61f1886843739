"""How much is done in one turn of the loop."""

from __future__ import annotations

import asyncio
from collections import Counter


class Turns:
    """Counts the turns of the loop, and in which of them something was noted."""

    def __init__(self) -> None:
        self.noted: list[tuple[int, str]] = []
        self._now = 0
        self._handle = asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._now += 1
        self._handle = asyncio.get_running_loop().call_soon(self._next)

    def note(self, what: str) -> None:
        self.noted.append((self._now, what))

    def end(self) -> None:
        self._handle.cancel()

    def most(self, what: str) -> int:
        return max(Counter(turn for turn, noted in self.noted if noted == what).values())
