"""Keeps the leases of this server's jobs, and takes back jobs that nobody runs any more."""

from __future__ import annotations

from time import monotonic

from isolet.clock import Clock
from isolet.database import leases as stored
from isolet.database.conclusions import Outcome
from isolet.database.connection import Database
from isolet.domain.jobs import LEASE_MS, Attempt, Job, JobEvent, concluded
from isolet.ids import JobId
from isolet.jobs.kinds import Kinds
from isolet.telemetry import get_logger

log = get_logger("jobs")

_GRACE_BEATS = 2
_TIMES = {1: "once", 2: "twice", 3: "three times"}


class Leases:
    """A job is given up when its server ended `crash_limit` times in a row while it ran it; never for 0."""

    def __init__(self, *, database: Database, clock: Clock, owner: str, kinds: Kinds, crash_limit: int) -> None:
        self._database = database
        self._clock = clock
        self._owner = owner
        self._kinds = kinds
        self._crash_limit = crash_limit
        self._orphans: set[JobId] = set()
        # When leases were lengthened last, and for how many beats more others have time to lengthen theirs.
        self._beat_s = monotonic()
        self._grace = 0

    async def take_back(self) -> int:
        """What an earlier run of this server left; how many jobs."""
        # Whatever runs in a database of this server's own is its own.
        return await self._database.write(
            stored.requeue,
            self._clock.now_ms(),
            owner=self._owner,
            everything=not self._database.shared,
            lost=self._lost,
            prepare=self._kinds.prepared,
        )

    async def beat(self) -> None:
        """Lengthen what runs here, end what is to end, and take back what nobody runs. Raises StoreError."""
        kinds = self._kinds
        running = kinds.running
        owned = await self._database.write(stored.heartbeat, self._owner, self._clock.now_ms())
        expired = self._tells_of_ends()
        for worker in kinds.workers:
            for job_id in running - owned.keys():
                # It may have ended meanwhile, then this does nothing.
                worker.forget(job_id)
        for job_id, cancelled in owned.items():
            if cancelled:
                kinds.cancel(job_id)
        orphans = owned.keys() - running.union(kinds.running)
        lost = orphans & self._orphans
        self._orphans = set(orphans)
        found = await self._database.write(
            stored.requeue, self._clock.now_ms(), ids=lost, expired=expired, lost=self._lost, prepare=kinds.prepared
        )
        if found:
            log.warning("took back jobs that nobody ran", count=found)
            kinds.wake()

    def _tells_of_ends(self) -> bool:
        """Whether leases that ran out tell of servers that ended. After a while without the store they do not: others
        could not lengthen theirs either, and run their jobs still.
        """
        now_s = monotonic()
        away_s, self._beat_s = now_s - self._beat_s, now_s
        if self._grace:
            self._grace -= 1
        elif away_s > LEASE_MS / 1000:
            self._grace = _GRACE_BEATS
        return not self._grace

    def _lost(self, job: Job, attempt: Attempt, now_ms: int) -> Outcome:
        """A job after its server ended. One of a kind that is not known here waits for a server that knows it."""
        handler = self._kinds.handler(job.kind)
        if handler is not None and job.cancel_requested:
            return handler.cancelled(job, attempt, now_ms)
        times = job.crashes + 1
        if handler is None or not self._crash_limit or times < self._crash_limit:
            return Outcome(job=concluded(job, JobEvent.EXPIRED, now_ms, attempt=attempt))
        why = f"the server ended while it ran it, {_TIMES.get(times, f'{times} times')}"
        log.error("a job is given up", job_id=job.id, function_id=job.function_id, error=why)
        told = Attempt(at_ms=attempt.at_ms, duration_ms=attempt.duration_ms, error=why)
        return handler.failed(job, told, now_ms)
