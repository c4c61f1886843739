"""Runs what comes in a crowd over several turns of the event loop, in its order, so that others have theirs between."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

IN_A_TURN = 4


class Spread:
    """Each piece of work takes the loop for a fraction of a millisecond."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._scheduled = False

    def later(self, work: Callable[[], None]) -> None:
        """Run `work` soon, behind what came before it: so many in a turn."""
        self._waiting.append(work)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._serve)

    def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(min(IN_A_TURN, len(self._waiting))):
            # On its own, so that one that fails fails no other.
            loop.call_soon(self._waiting.popleft())
        self._scheduled = bool(self._waiting)
        if self._scheduled:
            loop.call_soon(self._serve)
