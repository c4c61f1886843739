"""Turns that projects share: whoever holds the fewest is next, so that one with much to do delays nobody else."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from isolet.errors import TooManyRequests
from isolet.ids import ProjectId

_RETRY_AFTER_S = 5


class Turns:
    """At most `total` at work, of one project at most `of_one`; `waiting_max` of one project may wait.

    A project keeps the order in which it asked.
    """

    def __init__(self, total: int, *, of_one: int, waiting_max: int | None = None) -> None:
        self._free = total
        self._of_one = of_one
        self._waiting_max = waiting_max
        self._held: Counter[ProjectId] = Counter()
        # Projects in the order in which they had a place last.
        self._waiting: dict[ProjectId, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def take(self, project_id: ProjectId) -> AsyncIterator[None]:
        """Hold a place. Raises TooManyRequests when `waiting_max` of the project wait already."""
        line = self._waiting.setdefault(project_id, deque())
        if self._waiting_max is not None and len(line) >= self._waiting_max:
            raise TooManyRequests(
                f"{self._waiting_max} of the project wait for their turn already", retry_after_s=_RETRY_AFTER_S
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.append(turn)
        self._give()
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._give_back(project_id)
            elif turn in line:
                self._leave(project_id, line, turn)
            raise
        try:
            yield
        finally:
            self._give_back(project_id)

    def _leave(self, project_id: ProjectId, line: deque[asyncio.Future[None]], turn: asyncio.Future[None]) -> None:
        line.remove(turn)
        if not line and self._waiting.get(project_id) is line:
            del self._waiting[project_id]

    def _give(self) -> None:
        """Hand out what is free."""
        while self._free and (project_id := self._next()) is not None:
            line = self._waiting.pop(project_id)
            turn = line.popleft()
            if line:
                self._waiting[project_id] = line
            if turn.cancelled():
                continue
            self._free -= 1
            self._held[project_id] += 1
            turn.set_result(None)

    def _next(self) -> ProjectId | None:
        """Of those that wait and may have one more, the project that holds the fewest."""
        able = [project_id for project_id in self._waiting if self._held[project_id] < self._of_one]
        return min(able, key=self._held.__getitem__, default=None)

    def _give_back(self, project_id: ProjectId) -> None:
        if (line := self._waiting.pop(project_id, None)) is not None:
            self._waiting[project_id] = line
        self._held[project_id] -= 1
        if not self._held[project_id]:
            del self._held[project_id]
        self._free += 1
        self._give()
