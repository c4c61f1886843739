"""What request bodies may hold of memory and disk: so much for the server, and a share of it for each project.

Who would hold more waits for others to give back. Nothing is read from its connection meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import IO, TypeVar

from isolet.errors import IsoletError, TooManyRequests, Unavailable
from isolet.ids import ProjectId
from isolet.rounds import Rounds
from isolet.threads import FairThreads
from isolet.turns import Turns

T = TypeVar("T")

# A project may hold this part of each budget; one body alone may be larger.
SHARE = 4
# Bodies of a project that wait at once; a connection that waits holds some memory as well.
WAITING_MAX = 100
_WAIT_S = 30.0
_RETRY_AFTER_S = 5
_THREADS = 2
# Large bodies whose JSON is checked at once; one of a project.
_CHECKS = 2


class Budget:
    """Bytes that are shared out. `what` names them for who gets none."""

    def __init__(self, total_bytes: int, what: str, *, wait_s: float = _WAIT_S) -> None:
        self._loop = asyncio.get_running_loop()
        self._total = total_bytes
        self._what = what
        self._wait_s = wait_s
        self.held = 0
        self._of: dict[ProjectId, int] = {}
        # First come, first served within a project; the projects take turns.
        self._waiting: OrderedDict[ProjectId, OrderedDict[asyncio.Future[None], int]] = OrderedDict()

    def held_by(self, project_id: ProjectId) -> int:
        return self._of.get(project_id, 0)

    async def take(self, project_id: ProjectId, size: int) -> None:
        """Wait for `size` bytes. Raises TooManyRequests when the project holds its share, Unavailable else."""
        if project_id not in self._waiting and self._fits(project_id, size):
            self._add(project_id, size)
            return
        waiting = self._waiting.setdefault(project_id, OrderedDict())
        if len(waiting) >= WAITING_MAX:
            raise self._refusal(project_id, size)
        turn: asyncio.Future[None] = self._loop.create_future()
        waiting[turn] = size
        try:
            async with asyncio.timeout(self._wait_s):
                await turn
        except BaseException as exc:
            if turn.done() and not turn.cancelled():
                # It was granted in the moment of giving up.
                self._add(project_id, -size)
            self._forget(project_id, turn)
            self._serve()
            if not isinstance(exc, TimeoutError):
                raise
            raise self._refusal(project_id, size) from None

    def give(self, project_id: ProjectId, size: int) -> None:
        self._add(project_id, -size)
        self._serve()

    def _serve(self) -> None:
        """Let those go on that fit now, a project after the other."""
        served = True
        while served:
            served = False
            for project_id in list(self._waiting):
                waiting = self._waiting[project_id]
                turn, size = next(iter(waiting.items()))
                if not turn.done():
                    if not self._fits(project_id, size):
                        continue
                    self._add(project_id, size)
                    turn.set_result(None)
                self._waiting.move_to_end(project_id)
                self._forget(project_id, turn)
                served = True

    def _forget(self, project_id: ProjectId, turn: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(project_id)
        if waiting is not None:
            waiting.pop(turn, None)
            if not waiting:
                del self._waiting[project_id]

    def _fits(self, project_id: ProjectId, size: int) -> bool:
        held = self.held_by(project_id)
        return (not held or held + size <= self._total // SHARE) and (not self.held or self.held + size <= self._total)

    def _add(self, project_id: ProjectId, size: int) -> None:
        self.held += size
        self._of[project_id] = self.held_by(project_id) + size
        if not self._of[project_id]:
            del self._of[project_id]

    def _refusal(self, project_id: ProjectId, size: int) -> IsoletError:
        held = self.held_by(project_id)
        if held and held + size > self._total // SHARE:
            return TooManyRequests(
                f"Request bodies of this project hold their share of the server's {self._what}; try again later",
                retry_after_s=_RETRY_AFTER_S,
            )
        return Unavailable(f"Request bodies hold all of the server's {self._what} that is for them; try again later")


class Bodies:
    """The budgets, the folder of bodies that wait on disk, the threads that write them, and turns to check them."""

    def __init__(self, *, memory_bytes: int, disk_bytes: int, folder: Path, wait_s: float = _WAIT_S) -> None:
        self.memory = Budget(memory_bytes, "memory", wait_s=wait_s)
        self.disk = Budget(disk_bytes, "disk", wait_s=wait_s)
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.rounds = Rounds()
        self.checks = Turns(_CHECKS, of_one=1)
        self._threads = FairThreads(_THREADS, name="bodies")

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Run what takes long, or waits for the disk, off the loop."""
        return self._threads.submit(work)

    async def run(self, work: Callable[[], T]) -> T:
        return await asyncio.wrap_future(self.submit(work))

    def close_file(self, file: IO[bytes]) -> None:
        """Close a file that nobody works on, off the loop."""
        try:
            closing = self.submit(file.close)
        except RuntimeError:
            # The threads have ended with the server, or end before they come to it.
            file.close()
        else:
            closing.add_done_callback(lambda done: file.close() if done.cancelled() else None)

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)


class Hold:
    """What one body holds, until `close`."""

    __slots__ = ("_bodies", "_disk", "_memory", "project_id")

    def __init__(self, bodies: Bodies, project_id: ProjectId) -> None:
        self._bodies = bodies
        self.project_id = project_id
        self._memory = 0
        self._disk = 0

    async def memory(self, size: int) -> None:
        """Hold `size` bytes from now on. Raises TooManyRequests, Unavailable, and then holds what it held."""
        await self._change(self._bodies.memory, size - self._memory)
        self._memory = size

    async def disk(self, size: int) -> None:
        """The same on disk."""
        await self._change(self._bodies.disk, size - self._disk)
        self._disk = size

    async def _change(self, budget: Budget, more: int) -> None:
        if more > 0:
            await budget.take(self.project_id, more)
        elif more < 0:
            budget.give(self.project_id, -more)

    def close(self) -> None:
        memory, self._memory = self._memory, 0
        disk, self._disk = self._disk, 0
        with contextlib.ExitStack() as stack:
            if memory:
                stack.callback(self._bodies.memory.give, self.project_id, memory)
            if disk:
                stack.callback(self._bodies.disk.give, self.project_id, disk)
