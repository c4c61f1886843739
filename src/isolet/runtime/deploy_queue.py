"""Deploys that wait for room for one more instance, in the order that they came."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from isolet.ids import ProjectId


class DeployQueue:
    """`has_room` makes room for an instance of a project where it can, and says whether there is some."""

    def __init__(self, has_room: Callable[[ProjectId], bool]) -> None:
        self._has_room = has_room
        self._loop = asyncio.get_running_loop()
        self.waiting: dict[asyncio.Future[None], ProjectId] = {}

    async def wait(self, project_id: ProjectId, timeout_s: float) -> None:
        """Return once the project has room, or after `timeout_s`: what starts an instance then says why it cannot."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self._has_room(project_id):
                    turn = self._loop.create_future()
                    self.waiting[turn] = project_id
                    try:
                        await turn
                    finally:
                        self.waiting.pop(turn, None)

    def give_room(self) -> None:
        """Something has ended: the deploy that has waited longest of those that fit starts before another call."""
        for turn, project_id in self.waiting.items():
            # One that has just given up takes no room.
            if not turn.done() and self._has_room(project_id):
                del self.waiting[turn]
                turn.set_result(None)
                return
