"""Keeps the leases of this server's jobs, and takes back jobs that nobody runs any more."""

from __future__ import annotations

from collections.abc import Mapping

from isolet.clock import Clock
from isolet.database import leases as stored
from isolet.database.connection import Database
from isolet.domain.jobs import Attempt, Job, JobEvent, JobKind, concluded
from isolet.ids import JobId
from isolet.jobs.outcomes import Runner
from isolet.jobs.worker import Worker
from isolet.telemetry import get_logger

log = get_logger("jobs")

_TIMES = {1: "once", 2: "twice", 3: "three times"}


class Leases:
    """A job is given up when its server ended `crash_limit` times in a row while it ran it; never for 0."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        owner: str,
        workers: Mapping[JobKind, Worker],
        runners: Mapping[JobKind, Runner],
        crash_limit: int,
    ) -> None:
        self._database = database
        self._clock = clock
        self._owner = owner
        self._workers = workers
        self._runners = runners
        self._crash_limit = crash_limit
        self._orphans: set[JobId] = set()

    async def take_back(self) -> int:
        """What an earlier run of this server left; how many jobs."""
        # Whatever runs in a database of this server's own is its own.
        return await self._database.write(
            stored.requeue,
            self._clock.now_ms(),
            owner=self._owner,
            everything=not self._database.shared,
            lost=self._lost,
        )

    async def beat(self) -> None:
        """Lengthen what runs here, end what is to end, and take back what nobody runs. Raises StoreError."""
        workers = self._workers.values()
        running: set[JobId] = set().union(*(worker.running for worker in workers))
        owned = await self._database.write(stored.heartbeat, self._owner, self._clock.now_ms())
        for worker in workers:
            for job_id in running - owned.keys():
                # It may have ended meanwhile, then this does nothing.
                worker.forget(job_id)
            for job_id, cancelled in owned.items():
                if cancelled:
                    worker.cancel(job_id)
        orphans = owned.keys() - running.union(*(worker.running for worker in workers))
        lost = orphans & self._orphans
        self._orphans = set(orphans)
        found = await self._database.write(stored.requeue, self._clock.now_ms(), ids=lost, lost=self._lost)
        if found:
            log.warning("took back jobs that nobody ran", count=found)
            for worker in workers:
                worker.wake()

    def _lost(self, job: Job, attempt: Attempt, now_ms: int) -> tuple[Job, Job | None]:
        """A job after its server ended."""
        times = job.crashes + 1
        if not self._crash_limit or times < self._crash_limit or job.cancel_requested:
            return concluded(job, JobEvent.EXPIRED, now_ms, attempt=attempt), None
        why = f"the server ended while it ran it, {_TIMES.get(times, f'{times} times')}"
        log.error("a job is given up", job_id=job.id, function_id=job.function_id, error=why)
        told = Attempt(at_ms=attempt.at_ms, duration_ms=attempt.duration_ms, error=why)
        return self._runners[job.kind].failed(job, told, now_ms)
