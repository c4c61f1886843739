"""Writes how jobs ended: again and again while the store is away, once more in plain words when it refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from isolet.clock import Clock
from isolet.database import conclusions as stored
from isolet.database.conclusions import Concluded, Conclusion, Outcome
from isolet.domain.jobs import Attempt, Job, JobEvent, concluded
from isolet.errors import StoreError, StoreRefused
from isolet.jobs.backlog import Backlog
from isolet.jobs.handler import INTERNAL_ERROR, Handler
from isolet.jobs.kinds import Kinds
from isolet.jobs.writes import Writes
from isolet.telemetry import get_logger

log = get_logger("jobs")

_RETRY_MIN_S = 1.0
_RETRY_MAX_S = 30.0


class Outcomes:
    """Of the jobs of one kind; `kinds` run what follows from them."""

    def __init__(
        self, *, owner: str, writes: Writes, clock: Clock, handler: Handler, backlog: Backlog, kinds: Kinds
    ) -> None:
        self._backlog = backlog
        self._owner = owner
        self._writes = writes
        self._clock = clock
        self._handler = handler
        self._kinds = kinds

    async def write(self, job: Job, outcome: Outcome, *, on_wait: Callable[[], None]) -> bool:
        """Whether the lease of `job` was still owned; `on_wait` is called when the store must be waited for.

        What the store or a join refuses becomes a failure as the handler has it, and then one of the job alone.
        """
        delay_s = _RETRY_MIN_S
        failures = iter((self._handler.failed, _failed_alone))
        while True:
            try:
                done = await self._write_once(outcome)
                if done.refused is None:
                    return done.state is not None
                why = done.refused
                log.warning("a job may not end as it did; it fails", error=why)
            except StoreRefused as exc:
                why = INTERNAL_ERROR
                log.error("cannot write how a job ended; it fails", error=exc.message)
            except StoreError as exc:
                log.error("cannot write how a job ended; trying again", error=exc.message)
                on_wait()
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, _RETRY_MAX_S)
                continue
            failed = next(failures, None)
            if failed is None:
                # The lease is left alone; jobs that nobody runs are taken back.
                log.error("cannot write how a job ended, nor that it failed", error=why)
                return False
            now_ms = self._clock.now_ms()
            outcome = failed(job, _told(outcome.job, why, now_ms), now_ms)

    async def _write_once(self, outcome: Outcome) -> Concluded:
        """Raises StoreError."""
        reserved: Sequence[Job] = ()
        if outcome.follow_ups:
            before = outcome.job if outcome.continues else None
            outcome = Outcome(
                job=outcome.job,
                follow_ups=(reserved := [self._kinds.reserve(job, instead_of=before) for job in outcome.follow_ups]),
                join=outcome.join,
            )
        followed = False
        try:
            done = await self._submit(outcome)
            followed = done.followed
        finally:
            for job in reserved:
                (self._kinds.kept if followed else self._kinds.dropped)(job)
        for job in done.added:
            self._kinds.kept(job)
        return done

    async def _submit(self, outcome: Outcome) -> Concluded:
        conclusion = Conclusion(
            outcome=outcome, owner=self._owner, at_ms=self._clock.now_ms(), prepare=self._kinds.prepared
        )
        done = await self._writes.submit(stored.conclude, conclusion)
        if done.state is not None and done.state.ended:
            self._backlog.ended(outcome.job)
        for job in [*(outcome.follow_ups if done.followed else ()), *done.added]:
            self._backlog.added(job)
        return done


def _told(after: Job, why: str, now_ms: int) -> Attempt:
    last = after.history[-1] if after.history else None
    return Attempt(at_ms=last.at_ms if last else now_ms, duration_ms=last.duration_ms if last else 0, error=why)


def _failed_alone(job: Job, attempt: Attempt, now_ms: int) -> Outcome:
    return Outcome(job=concluded(job, JobEvent.FAILED, now_ms, attempt=attempt))
