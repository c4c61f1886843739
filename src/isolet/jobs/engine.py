"""The job engine: keeps jobs durably and runs those of the kinds that are registered. Knows no kind.

A kind is a name, a handler and a capacity. The engine owns what all kinds have in common: writes that share a
transaction, leases and fences, places and their fair split, budgets of projects, what is done about servers that end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from isolet.clock import Clock
from isolet.database import jobs as stored
from isolet.database.connection import Connection, Database
from isolet.database.copies import Held
from isolet.database.job_retention import delete_of_project
from isolet.database.jobs import Admission, Kept
from isolet.domain.body_budget import BodyBudget
from isolet.domain.jobs import HEARTBEAT_S, Job, JobKind, JobState
from isolet.domain.project_limits import ProjectLimits
from isolet.errors import IsoletError, TooManyRequests
from isolet.ids import JobId, ProjectId
from isolet.jobs.backlog import Backlog
from isolet.jobs.clock_steps import ClockSteps
from isolet.jobs.copies import settle
from isolet.jobs.counts import OpenCounts
from isolet.jobs.handler import Handler
from isolet.jobs.kinds import Kinds
from isolet.jobs.leases import Leases
from isolet.jobs.retention import JobRetention
from isolet.jobs.worker import Worker
from isolet.jobs.writes import Writes
from isolet.tasks import Tasks
from isolet.telemetry import get_logger

log = get_logger("jobs")

_PAUSE_S = 0.02


class Engine:
    """`owner` names this server and outlives it, so that its next start takes back what it left running.

    `copied` says that the database is known to be a copy, `adopt` to run what a copy has queued; `held` is how many
    jobs and schedules it has that it does not run.
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        owner: str,
        retention_ms: int,
        limits_of: Callable[[ProjectId], ProjectLimits],
        memory_bytes: int,
        crash_limit: int,
        copied: bool = False,
        adopt: bool = False,
    ) -> None:
        self._copied = copied
        self._adopt = adopt
        self.held = Held()
        self._database = database
        self._clock = clock
        self._owner = owner
        self._bodies = BodyBudget(memory_bytes)
        self._writes = Writes(database)
        self._kinds = Kinds()
        self._workers: list[tuple[JobKind, Worker, float | None]] = []
        self._leases = Leases(database=database, clock=clock, owner=owner, kinds=self._kinds, crash_limit=crash_limit)
        self._retention = JobRetention(database=database, clock=clock, retention_ms=retention_ms, limits_of=limits_of)
        self.backlog = Backlog(database, limits_of, on_ended=self._retention.ended)
        self.counts = OpenCounts(database, self._kinds)

    def register(
        self,
        kind: JobKind,
        handler: Handler,
        *,
        capacity: int,
        drain_max_s: float | None = None,
        follows: bool = False,
    ) -> None:
        """Run jobs of this kind, `capacity` at once. To be called before `start`.

        `follows`: they follow from others; `Backlog.is_held_back` tells of a project where these take too much.
        `drain_max_s` bounds how long a server that stops waits for those that run, besides the setting for all.
        Raises ValueError for a name that is taken or over 20 characters.
        """
        worker = Worker(
            kind,
            owner=self._owner,
            writes=self._writes,
            database=self._database,
            clock=self._clock,
            capacity=capacity,
            bodies=self._bodies,
            backlog=self.backlog,
            handler=handler,
            kinds=self._kinds,
        )
        self._kinds.add(kind, handler, worker)
        if follows:
            self.backlog.let_follow(kind)
        self._workers.append((kind, worker, drain_max_s))

    # The loops.

    async def start(self, loops: Tasks) -> None:
        """Take back what an earlier run of this server left, then work; but hold what a copied database has queued."""
        self.held = await settle(self._database, self._clock, copied=self._copied, adopt=self._adopt)
        left = await self._leases.take_back()
        await self.backlog.count()
        if left:
            log.warning("jobs that were running when the server ended go on", count=left)
        loops.loop(self._writes.run(), name="job writes")
        for kind, worker, _ in self._workers:
            loops.loop(worker.run(), name=f"jobs of kind {kind}")
        loops.loop(self._keep_leases(), name="leases")
        loops.loop(self._retention.run(), name="retention of jobs")

    def cut(self) -> None:
        """Claim no more, and hand back what runs."""
        for _, worker, _ in self._workers:
            worker.cut()

    async def drain(self, timeout_s: float) -> None:
        """Let running jobs finish, then hand them back."""
        await asyncio.gather(
            *(
                worker.drain(timeout_s if longest_s is None else min(timeout_s, longest_s))
                for _, worker, longest_s in self._workers
            )
        )

    async def _keep_leases(self) -> None:
        steps, back_ms = ClockSteps(self._clock), 0
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            # The clock of one of several servers says nothing of what the others queued.
            back_ms += 0 if self._database.shared else steps.back_ms()
            try:
                if back_ms:
                    await self._database.write(stored.bring_forward, self._clock.now_ms(), back_ms)
                    log.warning("the clock was set back; what waits is due so much earlier", milliseconds=back_ms)
                    back_ms = 0
                    self._kinds.wake()
                await self._leases.beat()
                await self.backlog.count()
            except IsoletError as exc:
                log.error("cannot keep the leases of jobs", error=exc.message)

    # What kinds ask for.

    async def submit(self, job: Job, admission: Admission | None = None, *, order: tuple[str, ...] = ()) -> Kept:
        """Keep a job; when this returns it is on disk, and so is what `admission` wrote, or neither is.

        `order` is the key of the row that `admission` writes, with the table before it.
        Raises TooManyRequests when the project has too many, TooLarge, StoreError.
        """
        with self.backlog.admitted(job):
            reserved = self._kinds.reserve(job)
            try:
                item = stored.Accepted(job=reserved, admission=admission, order=order)
                kept = await self._writes.submit(stored.accept, item)
            except BaseException:
                self._kinds.dropped(reserved)
                raise
            if kept.new:
                self.backlog.added(reserved)
        (self._kinds.kept if kept.new else self._kinds.dropped)(reserved)
        for job_id in kept.cancelled:
            self._kinds.cancel(job_id)
        return kept

    def joined(self, added: Sequence[Job], cancelled: Sequence[JobId] = ()) -> None:
        """A transaction of a kind's own queued jobs, whose lanes it knew, and asked for the end of others."""
        for job in added:
            self.backlog.added(job)
            self._kinds.kept(job)
        for job_id in cancelled:
            self._kinds.cancel(job_id)

    async def cancel(self, job: Job, join: Callable[[Connection, JobState], None] | None = None) -> JobState | None:
        """End a job that waits, ask for the end of one that runs, on whatever server; its state then.

        None when it had ended. `join` runs in the same transaction, with that state, unless it is None.
        """
        state = await self._database.write(stored.cancel, job.id, self._clock.now_ms(), join)
        if state is not None:
            if state.ended:
                self.backlog.ended(job)
            self._kinds.cancel(job.id)
        return state

    async def reopen(self, jobs: Sequence[Job]) -> int:
        """Queue ended jobs once more, as many as their projects have room for; how many.

        Raises TooManyRequests when there is room for none.
        """
        with self._room_for(jobs) as taken:
            count = await self._database.write(stored.reopen, [job.id for job in taken], self._clock.now_ms())
            for job in taken[:count]:
                self.backlog.added(job)
        for kind in {job.kind for job in taken}:
            self._kinds.wake(kind)
        return count

    @contextmanager
    def _room_for(self, jobs: Sequence[Job]) -> Iterator[Sequence[Job]]:
        taken: list[Job] = []
        with ExitStack() as stack:
            for job in jobs:
                try:
                    stack.enter_context(self.backlog.admitted(job))
                except TooManyRequests:
                    if not taken:
                        raise
                    break
                taken.append(job)
            yield taken

    async def delete_project(self, project_id: ProjectId) -> None:
        """What it had queued, and what has ended, in small pieces between which others write."""
        while await self._database.write(delete_of_project, project_id):
            await asyncio.sleep(_PAUSE_S)
        for _, worker, _ in self._workers:
            worker.forget_project(project_id)
        self.backlog.forget(project_id)
