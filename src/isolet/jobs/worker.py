"""Takes jobs of one kind and runs them: claims when woken, ends only what it still owns, hands back when it stops."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from structlog.contextvars import bind_contextvars

from isolet.clock import Clock
from isolet.domain.jobs import Attempt, Job, JobEvent, JobKind, JobState, claimed, concluded
from isolet.errors import StoreError
from isolet.ids import JobId
from isolet.jobs.writes import Writes
from isolet.store import jobs as stored
from isolet.store.database import Database
from isolet.tasks import Tasks
from isolet.telemetry import get_logger

log = get_logger("jobs")

# Other servers may queue work in the same database; they cannot set our event.
_POLL_S = 2.0
_STORE_RETRY_S = 1.0
_WHY = {
    JobEvent.CANCELLED: "cancelled",
    JobEvent.HANDED_BACK: "the server stopped while it ran; handed back",
}


class Worker:
    """`run_job` gives the job as its try left it, and the job that follows from it, for `following` to run.

    `lane_limit` is how many jobs of a lane may run at once.
    """

    def __init__(
        self,
        kind: JobKind,
        *,
        owner: str,
        writes: Writes,
        database: Database,
        clock: Clock,
        capacity: int,
        lane_limit: Callable[[str], int],
        run_job: Callable[[Job], Awaitable[tuple[Job, Job | None]]],
        following: Worker | None = None,
    ) -> None:
        self._kind = kind
        self._owner = owner
        self._writes = writes
        self._database = database
        self._clock = clock
        self._capacity = capacity
        self._lane_limit = lane_limit
        self._run_job = run_job
        self._following = following
        self._tasks = Tasks()
        self._running: dict[JobId, asyncio.Task[tuple[Job, Job | None]]] = {}
        self._endings: dict[JobId, JobEvent] = {}
        self._lanes: Counter[str] = Counter()
        self._projects: Counter[str] = Counter()
        self._used = 0
        self._backlog = True
        self._stopping = False
        self._wake = asyncio.Event()
        self._wake.set()

    @property
    def running(self) -> set[JobId]:
        return set(self._running)

    # A new job takes a free place as it is written: then nobody needs to claim it.

    def reserve(self, job: Job) -> Job:
        """The job, leased to us when there is a place for it and nobody waits; as it was otherwise."""
        if self._stopping or self._backlog or self._used >= self._capacity or self._room(job.lane) < 1:
            return job
        self._take(job)
        return claimed(job, self._owner, self._clock.now_ms())

    def kept(self, job: Job) -> None:
        """A job that `reserve` gave is on disk now."""
        if job.state is JobState.RUNNING:
            self._start(job)
        else:
            self.wake()

    def dropped(self, job: Job) -> None:
        """A job that `reserve` gave was not written after all."""
        if job.state is JobState.RUNNING:
            self._give_back(job)

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

    # The loop.

    async def run(self) -> None:
        """Claim whenever there is work and a place; ends by cancellation."""
        while True:
            await self._wait()
            if self._stopping:
                return
            free = self._capacity - self._used
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
                due = await self._database.read(stored.next_due_ms, self._kind)
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
        wanted = stored.Claim(
            kind=self._kind,
            owner=self._owner,
            limit=free,
            now_ms=self._clock.now_ms(),
            running=dict(self._projects),
            room=self._room,
        )
        found = await self._writes.submit(stored.claim, wanted)
        for job in found:
            self._take(job)
            self._start(job)
        if len(found) == free:
            self._backlog = True

    # One job.

    def _room(self, lane: str) -> int:
        return self._lane_limit(lane) - self._lanes[lane]

    def _take(self, job: Job) -> None:
        self._used += 1
        self._lanes[job.lane] += 1
        self._projects[job.project_id] += 1

    def _give_back(self, job: Job) -> None:
        self._used -= 1
        for counter, name in ((self._lanes, job.lane), (self._projects, str(job.project_id))):
            counter[name] -= 1
            if not counter[name]:
                del counter[name]
        if self._backlog:
            self._wake.set()

    def _start(self, job: Job) -> None:
        if self._stopping:
            self._endings[job.id] = JobEvent.HANDED_BACK
        self._running[job.id] = self._tasks.spawn(self._attempt(job), name=f"{self._kind} {job.id}")
        self._tasks.spawn(self._see_through(job), name=f"end {self._kind} {job.id}")

    async def _attempt(self, job: Job) -> tuple[Job, Job | None]:
        if job.id in self._endings:
            raise asyncio.CancelledError
        _bind(job)
        return await self._run_job(job)

    async def _see_through(self, job: Job) -> None:
        """Wait for the try to end, and write how it did."""
        _bind(job)
        began_ms, began = self._clock.now_ms(), time.monotonic()
        task = self._running[job.id]
        await asyncio.wait({task})
        try:
            event = self._endings.pop(job.id, None)
            if not task.cancelled() and task.exception() is None:
                after, follow_up = task.result()
            elif task.cancelled() and event is None:
                return
            else:
                event = event if task.cancelled() and event else JobEvent.FAILED
                attempt = Attempt(
                    at_ms=began_ms,
                    duration_ms=round((time.monotonic() - began) * 1000),
                    error=_WHY.get(event, "internal error"),
                )
                after, follow_up = concluded(job, event, self._clock.now_ms(), attempt=attempt), None
            await self._conclude(after, follow_up)
        finally:
            del self._running[job.id]
            self._give_back(job)

    async def _conclude(self, after: Job, follow_up: Job | None) -> None:
        follower = self._following if follow_up is not None else None
        if follower is not None and follow_up is not None:
            follow_up = follower.reserve(follow_up)
        conclusion = stored.Conclusion(job=after, owner=self._owner, follow_up=follow_up)
        owned = False
        while True:
            try:
                owned = await self._writes.submit(stored.conclude, conclusion)
                break
            except StoreError as exc:
                log.error("cannot write how a job ended; trying again", error=exc.message)
                await asyncio.sleep(_STORE_RETRY_S)
        if not owned:
            log.warning("a job's lease was lost before it ended")
        if follower is not None and follow_up is not None:
            (follower.kept if owned else follower.dropped)(follow_up)
        if owned and after.state is JobState.QUEUED and after.due_at_ms <= self._clock.now_ms():
            self.wake()
        else:
            # The loop looks again at when the next is due.
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
    """What this task logs carries these ids; a callback's invocation is the call that it tells of."""
    bind_contextvars(job_id=job.id, invocation_id=job.parent_id or job.id, function_id=job.function_id)
