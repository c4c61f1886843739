"""Shares out the turns of the event loop among those who bring much: each turn a few parts, of the projects one by one.

A connection that is read brings up to 256 KiB at once, so twenty of them would hold up everybody else for milliseconds,
turn after turn.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

from isolet.ids import ProjectId

_IN_A_TURN = 2


class Rounds:
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: OrderedDict[ProjectId, deque[asyncio.Future[None]]] = OrderedDict()
        self._scheduled = False

    async def wait(self, project_id: ProjectId) -> None:
        """Returns when it is this one's turn: soon, for nobody keeps a turn."""
        await self.turn(project_id)

    def turn(self, project_id: ProjectId) -> asyncio.Future[None]:
        """Done when it is this one's turn."""
        turn: asyncio.Future[None] = self._loop.create_future()
        self._waiting.setdefault(project_id, deque()).append(turn)
        self._schedule()
        return turn

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._serve)

    def _serve(self) -> None:
        self._scheduled = False
        served = 0
        while self._waiting and served < _IN_A_TURN:
            project_id, line = self._waiting.popitem(last=False)
            turn = line.popleft()
            while line and turn.done():
                # Who waited is gone.
                turn = line.popleft()
            if line:
                self._waiting[project_id] = line
            if not turn.done():
                turn.set_result(None)
                served += 1
        if self._waiting:
            self._schedule()
