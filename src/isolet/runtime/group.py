"""The instances of one release: which one takes the next call, who waits, when to start another."""

from __future__ import annotations

import asyncio
from itertools import islice

from isolet.domain.limits import Limits
from isolet.errors import TooManyRequests
from isolet.ids import FunctionId, ProjectId
from isolet.runtime.backoff import BackOff
from isolet.runtime.instance import Instance
from isolet.runtime.lifecycle import State

QUARANTINE_AFTER = 3
_RETRY_AFTER_S = 1
# Each looks for its place, and waits again when there is none.
_WOKEN_AT_ONCE = 16


class Group:
    """Pure bookkeeping: who starts and stops processes is the pool."""

    def __init__(self, release: str, project_id: ProjectId, function_id: FunctionId | None = None) -> None:
        self.project_id = project_id
        self.function_id = function_id
        self._loop = asyncio.get_running_loop()
        self.release = release
        self.limits = Limits()
        self.instances: list[Instance] = []
        self.draining: set[Instance] = set()
        self.starting: asyncio.Future[Instance] | None = None
        # In the order that they came.
        self.waiting: dict[asyncio.Future[None], None] = {}
        self.start_failures = 0
        self.crashes = 0
        self.not_before = 0.0
        self.reason = ""
        # No release that calls go to any more, unless one is served again.
        self.retired = False

    def free(self, limits: Limits) -> Instance | None:
        """The instance that takes the next call: one whose loop turns, with the fewest calls, and room."""
        self.limits = limits
        best: Instance | None = None
        # Those over a number that was lowered take no calls, and stop as idle ones do.
        for instance in self.instances[: limits.max_instances]:
            if instance.active < limits.concurrency and (
                best is None or (instance.stalled, instance.active) < (best.stalled, best.active)
            ):
                best = instance
        if best is not None:
            best.limits = limits
        return best

    async def wait_for_room(self, timeout_s: float) -> None:
        """Wait until a call has ended. Raises TooManyRequests at the deadline."""
        try:
            await self.wait(timeout_s)
        except TimeoutError:
            raise TooManyRequests(
                "The function runs as many calls as it may; try again later", retry_after_s=_RETRY_AFTER_S
            ) from None

    async def wait(self, timeout_s: float) -> None:
        """Wait until it is this caller's turn to look again. Raises TimeoutError, and why a start failed."""
        turn: asyncio.Future[None] = self._loop.create_future()
        self.waiting[turn] = None
        try:
            async with asyncio.timeout(timeout_s):
                await turn
        except BaseException:
            # It was its turn at the moment that it gave up: the next one gets it.
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.wake()
            raise
        finally:
            self.waiting.pop(turn, None)

    def wake(self) -> None:
        """Let the first that waits try again."""
        while self.waiting:
            turn = next(iter(self.waiting))
            del self.waiting[turn]
            if not turn.done():
                turn.set_result(None)
                return

    def wake_all(self, error: BaseException | None = None) -> None:
        """Let all that wait now try again, or fail: some at a time, so that the loop turns between them."""
        self._wake_some(len(self.waiting), error)

    def _wake_some(self, rest: int, error: BaseException | None) -> None:
        for turn in list(islice(self.waiting, min(rest, _WOKEN_AT_ONCE))):
            del self.waiting[turn]
            if turn.done():
                continue
            if error is None:
                turn.set_result(None)
            else:
                turn.set_exception(error)
        rest = min(rest - _WOKEN_AT_ONCE, len(self.waiting))
        if rest > 0:
            self._loop.call_soon(self._wake_some, rest, error)

    def serve(self, instance: Instance) -> None:
        """A started instance takes calls."""
        self.start_failures = 0
        self.retired = False
        self.instances.append(instance)
        self.wake_all()

    def drop(self, instance: Instance) -> None:
        if instance in self.instances:
            self.instances.remove(instance)
        self.draining.discard(instance)

    def count_start_failure(self, reason: str) -> None:
        self.start_failures += 1
        self.reason = reason
        self._pause(BackOff.START, self.start_failures)

    def count_crash(self) -> None:
        self.crashes += 1
        self._pause(BackOff.CRASH, self.crashes)

    def count_success(self) -> None:
        self.crashes = 0

    def _pause(self, pauses: BackOff, failures: int) -> None:
        self.not_before = self._loop.time() + pauses.pause_s(failures)

    @property
    def pause_s(self) -> float:
        """How long a start has to wait yet."""
        return max(0.0, self.not_before - self._loop.time())

    @property
    def is_forgotten(self) -> bool:
        """Nothing of it is left, and its failures slow no later start."""
        holds = self.instances or self.draining or self.starting or self.waiting
        return not holds and (self.retired or not (self.start_failures or self.crashes))

    @property
    def all_busy(self) -> bool:
        """Every instance is short of time, and calls wait for it."""
        return bool(self.instances) and all(
            instance.state is State.READY and instance.busy and (instance.active > 1 or self.waiting)
            for instance in self.instances
        )
