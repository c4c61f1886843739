"""Writes how jobs ended: again and again while the store is away, once more in plain words when it refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from isolet.clock import Clock
from isolet.database import leases as stored
from isolet.domain.jobs import Attempt, Job
from isolet.errors import StoreError, StoreRefused
from isolet.jobs.backlog import Backlog
from isolet.jobs.writes import Writes
from isolet.telemetry import get_logger

log = get_logger("jobs")

INTERNAL_ERROR = "internal error"
_RETRY_MIN_S = 1.0
_RETRY_MAX_S = 30.0


class Runner(Protocol):
    """What is done with jobs of one kind."""

    def lane_limit(self, name: str) -> int:
        """How many jobs of a lane may run at once."""

    async def run(self, job: Job) -> tuple[Job, Job | None]:
        """The job after one try, and the job that follows from it."""

    def failed(self, job: Job, attempt: Attempt, now_ms: int) -> tuple[Job, Job | None]:
        """The job after a try that ended for a reason of ours, for good."""


class Follower(Protocol):
    """Who runs the jobs that follow."""

    def reserve(self, job: Job) -> Job: ...

    def kept(self, job: Job) -> None: ...

    def dropped(self, job: Job) -> None: ...


class Outcomes:
    def __init__(
        self,
        *,
        owner: str,
        writes: Writes,
        clock: Clock,
        runner: Runner,
        backlog: Backlog,
        following: Follower | None,
    ) -> None:
        self._backlog = backlog
        self._owner = owner
        self._writes = writes
        self._clock = clock
        self._runner = runner
        self._following = following

    async def write(self, job: Job, after: Job, follow_up: Job | None, *, on_wait: Callable[[], None]) -> bool:
        """Whether the lease of `job` was still owned; `on_wait` is called when the store must be waited for."""
        delay_s = _RETRY_MIN_S
        refused = False
        while True:
            try:
                return await self._write_once(after, follow_up)
            except StoreRefused as exc:
                if refused:
                    # The lease is left alone; jobs that nobody runs are taken back.
                    log.error("cannot write how a job ended, nor that it failed", error=exc.message)
                    return False
                refused = True
                log.error("cannot write how a job ended; it fails", error=exc.message)
                after, follow_up = self._in_plain_words(job, after)
            except StoreError as exc:
                log.error("cannot write how a job ended; trying again", error=exc.message)
                on_wait()
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, _RETRY_MAX_S)

    def _in_plain_words(self, job: Job, after: Job) -> tuple[Job, Job | None]:
        last = after.history[-1] if after.history else None
        now_ms = self._clock.now_ms()
        attempt = Attempt(
            at_ms=last.at_ms if last else now_ms, duration_ms=last.duration_ms if last else 0, error=INTERNAL_ERROR
        )
        return self._runner.failed(job, attempt, now_ms)

    async def _write_once(self, after: Job, follow_up: Job | None) -> bool:
        """Raises StoreError."""
        follower = self._following
        if follower is None or follow_up is None:
            return await self._submit(after, follow_up)
        reserved = follower.reserve(follow_up)
        owned = False
        try:
            owned = await self._submit(after, reserved)
        finally:
            (follower.kept if owned else follower.dropped)(reserved)
        return owned

    async def _submit(self, after: Job, follow_up: Job | None) -> bool:
        conclusion = stored.Conclusion(job=after, owner=self._owner, at_ms=self._clock.now_ms(), follow_up=follow_up)
        owned = await self._writes.submit(stored.conclude, conclusion)
        if owned and after.state.ended:
            self._backlog.ended(after)
        if owned and follow_up is not None:
            self._backlog.added(follow_up)
        return owned
