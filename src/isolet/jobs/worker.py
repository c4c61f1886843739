"""Takes jobs of one kind and runs them: claims when woken, ends only what it still owns, hands back when it stops."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from msgspec.structs import replace
from structlog.contextvars import bind_contextvars

from isolet.clock import Clock
from isolet.database import jobs as stored
from isolet.database import leases as stored_leases
from isolet.database.conclusions import Outcome
from isolet.database.connection import Database
from isolet.domain.body_budget import BodyBudget
from isolet.domain.jobs import NO_ROOM_DELAY_MS, Attempt, Job, JobEvent, JobKind, JobState, claimed, concluded
from isolet.errors import StoreError, StoreRefused
from isolet.ids import JobId, ProjectId
from isolet.jobs.backlog import Backlog
from isolet.jobs.handler import INTERNAL_ERROR, Handler
from isolet.jobs.kinds import Kinds
from isolet.jobs.outcomes import Outcomes
from isolet.jobs.places import Places
from isolet.jobs.writes import Writes
from isolet.tasks import Tasks
from isolet.telemetry import get_logger
from isolet.threads import work_for

log = get_logger("jobs")

# Other servers may queue work in the same database; they cannot set our event.
_POLL_S = 2.0
_STORE_RETRY_S = 1.0
_STARTED_AT_ONCE = 8
_WHY = {
    JobEvent.CANCELLED: "cancelled",
    JobEvent.HANDED_BACK: "the server stopped while it ran; handed back",
}


class Worker:
    """`kinds` run the jobs that follow from these. `bodies` is what the bodies of running jobs may hold."""

    def __init__(
        self,
        kind: JobKind,
        *,
        owner: str,
        writes: Writes,
        database: Database,
        clock: Clock,
        capacity: int,
        bodies: BodyBudget,
        backlog: Backlog,
        handler: Handler,
        kinds: Kinds,
    ) -> None:
        self._kind = kind
        self._owner = owner
        self._writes = writes
        self._database = database
        self._clock = clock
        self._places = Places(capacity, handler.lane_limit, bodies)
        self._handler = handler
        self._outcomes = Outcomes(
            owner=owner, writes=writes, clock=clock, handler=handler, backlog=backlog, kinds=kinds
        )
        self._tasks = Tasks()
        self._running: dict[JobId, asyncio.Task[Outcome]] = {}
        self._endings: dict[JobId, JobEvent] = {}
        self._backlog = True
        self._claimed_at_ms = 0
        self._stopping = False
        self._wake = asyncio.Event()
        self._wake.set()

    @property
    def running(self) -> set[JobId]:
        return set(self._running)

    # A new job takes a free place as it is written: then nobody needs to claim it.

    def reserve(self, job: Job, instead_of: Job | None = None) -> Job:
        """The job, leased to us when it is due, there is a place for it and nobody waits; as it was otherwise.

        With `instead_of`, which ends here now and is of the same lane, it gets that one's place, whoever waits.
        """
        now_ms = self._clock.now_ms()
        if self._stopping or job.due_at_ms > now_ms:
            return job
        if instead_of is not None and instead_of.lane == job.lane:
            self._places.give_back(instead_of)
            if not self._places.fits(job):
                return job
        elif self._backlog or not self._places.fits(job):
            return job
        self._places.take(job)
        return claimed(job, self._owner, now_ms)

    def kept(self, job: Job) -> None:
        """A job that `reserve` gave is on disk now."""
        if job.state is JobState.RUNNING:
            self._start(job)
        else:
            self.wake()

    def dropped(self, job: Job) -> None:
        """A job that `reserve` gave was not written after all."""
        if job.state is JobState.RUNNING:
            self._leave(job)

    def wake(self) -> None:
        """There is work in the store."""
        self._backlog = True
        self._wake.set()

    def cancel(self, job_id: JobId, event: JobEvent = JobEvent.CANCELLED) -> None:
        """End a try of ours, whatever it is doing."""
        task = self._running.get(job_id)
        if task is not None and not task.done():
            self._endings.setdefault(job_id, event)
            task.cancel()

    def forget(self, job_id: JobId) -> None:
        """The lease is lost: somebody else runs the job, so this try's outcome does not count."""
        task = self._running.get(job_id)
        if task is not None:
            task.cancel()

    def forget_project(self, project_id: ProjectId) -> None:
        """The project is gone, and its jobs with it: what is tried for it ends."""
        for job_id in self._places.of_project(project_id):
            self.forget(job_id)

    # The loop.

    async def run(self) -> None:
        """Claim whenever there is work and a place; ends by cancellation."""
        while True:
            await self._wait()
            if self._stopping:
                return
            free = self._places.free
            if free <= 0:
                # An end of a job wakes us.
                continue
            try:
                await self._claim(free)
            except StoreError as exc:
                log.error("cannot claim jobs", error=exc.message)
                await asyncio.sleep(_STORE_RETRY_S)

    async def _wait(self) -> None:
        timeout_s = _POLL_S
        if not self._wake.is_set():
            try:
                # What was due at the last claim waits for a place, and an end of a job wakes us.
                due = await self._database.read(stored.next_due_ms, self._kind, after_ms=self._claimed_at_ms)
            except StoreError:
                due = None
            if due is not None:
                timeout_s = min(_POLL_S, max(0.01, (due - self._clock.now_ms()) / 1000))
        try:
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _claim(self, free: int) -> None:
        self._backlog = False
        bodies = self._places.bodies.copy()
        wanted = stored_leases.Claim(
            kind=self._kind,
            owner=self._owner,
            limit=free,
            now_ms=self._clock.now_ms(),
            running=dict(self._places.projects),
            room=self._places.room,
            take=bodies.take,
            alone=self._handler.alone,
        )
        found = await self._writes.submit(stored_leases.claim, wanted)
        self._claimed_at_ms = wanted.now_ms
        for started, job in enumerate(found, 1):
            self._places.take(job)
            self._start(job)
            if started % _STARTED_AT_ONCE == 0:
                # The loop runs all that are ready before it looks at anything else: others get their turn.
                await asyncio.sleep(0)
        if len(found) == free:
            self._backlog = True

    # One job.

    def _give_place_back(self, job: Job) -> None:
        self._places.give_back(job)
        if self._backlog:
            self._wake.set()

    def _leave(self, job: Job) -> None:
        self._places.leave(job)
        if self._backlog:
            self._wake.set()

    def _start(self, job: Job) -> None:
        if self._stopping:
            self._endings[job.id] = JobEvent.HANDED_BACK
        self._running[job.id] = self._tasks.spawn(self._attempt(job), name=f"{self._kind} {job.id}")
        self._tasks.spawn(self._see_through(job), name=f"end {self._kind} {job.id}")

    async def _attempt(self, job: Job) -> Outcome:
        if job.id in self._endings:
            raise asyncio.CancelledError
        _bind(job)
        try:
            return await self._handler.run(await self._whole(job))
        except StoreRefused:
            # To try again is of no use.
            raise
        except StoreError as exc:
            log.error("a job cannot use the store; trying again", error=exc.message)
        now_ms = self._clock.now_ms()
        again = concluded(job, JobEvent.HANDED_BACK, now_ms, attempt=None, delay_ms=NO_ROOM_DELAY_MS)
        return Outcome(job=again)

    async def _whole(self, job: Job) -> Job:
        """With its body, which a large job leaves in the store until it starts. Raises StoreError."""
        if len(job.body) >= job.body_bytes:
            return job
        body = await self._database.read(stored.get_body, job.id)
        if body is None:
            # It was deleted with its project.
            raise asyncio.CancelledError
        return replace(job, body=body)

    async def _see_through(self, job: Job) -> None:
        """Wait for the try to end, and write how it did."""
        _bind(job)
        began_ms, began = self._clock.now_ms(), time.monotonic()
        task = self._running[job.id]
        await asyncio.wait({task})
        try:
            event = self._endings.pop(job.id, None)
            if task.cancelled() and event is None:
                return
            if not task.cancelled() and task.exception() is None:
                outcome = task.result()
            else:
                why = _WHY.get(event, INTERNAL_ERROR) if task.cancelled() and event else INTERNAL_ERROR
                duration_ms = round((time.monotonic() - began) * 1000)
                attempt = Attempt(at_ms=began_ms, duration_ms=duration_ms, error=why)
                outcome = self._ended(job, event if task.cancelled() else None, attempt)
            await self._conclude(job, outcome)
        finally:
            del self._running[job.id]
            self._leave(job)

    def _ended(self, job: Job, event: JobEvent | None, attempt: Attempt) -> Outcome:
        """After a try that was ended, or failed by a fault of ours when there is no event."""
        now_ms = self._clock.now_ms()
        if event is None:
            return self._handler.failed(job, attempt, now_ms)
        if event is JobEvent.CANCELLED:
            return self._handler.cancelled(job, attempt, now_ms)
        return Outcome(job=concluded(job, event, now_ms, attempt=attempt))

    async def _conclude(self, job: Job, outcome: Outcome) -> None:
        # While the store is away, the place is free for others.
        owned = await self._outcomes.write(job, outcome, on_wait=partial(self._give_place_back, job))
        if not owned:
            log.warning("a job's lease was lost before it ended")
        after = outcome.job
        if owned and after.state is JobState.QUEUED and after.due_at_ms <= self._clock.now_ms():
            self.wake()
        elif not outcome.continues:
            # The loop looks again at when the next is due. A job that continues left no place, and nothing to look at.
            self._wake.set()

    # Stopping.

    def cut(self) -> None:
        """Claim no more, and hand back what runs."""
        self._stopping = True
        self._wake.set()
        for job_id in self.running:
            self.cancel(job_id, JobEvent.HANDED_BACK)

    async def drain(self, timeout_s: float) -> None:
        """Claim no more; let what runs finish, then hand the rest back."""
        self._stopping = True
        self._wake.set()
        if self._running:
            await asyncio.wait(set(self._running.values()), timeout=timeout_s)
        self.cut()
        deadline = time.monotonic() + _STORE_RETRY_S * 5
        while self._running and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        await self._tasks.close()


def _bind(job: Job) -> None:
    """What this task logs carries these ids, and the threads that it uses are the project's.

    A job that tells of another one logs as the invocation of that one.
    """
    work_for(job.project_id)
    bind_contextvars(job_id=job.id, invocation_id=job.parent_id or job.id, function_id=job.function_id)
