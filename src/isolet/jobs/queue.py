"""The use cases of asynchronous calls: accept, status, cancel, replay, redeliver; and the loops that keep leases."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from isolet.clock import Clock
from isolet.database import jobs as stored
from isolet.database.connection import Connection, Database
from isolet.database.job_search import find_calls
from isolet.database.jobs import Idempotency
from isolet.domain.body_budget import BodyBudget
from isolet.domain.callbacks import host_of
from isolet.domain.jobs import HEARTBEAT_S, Job, JobKind, JobState, asked_again, lane
from isolet.domain.project_limits import ProjectLimits
from isolet.domain.search import CallFilter
from isolet.errors import Conflict, InvalidInput, NotFound, StoreError, TooManyRequests
from isolet.ids import FunctionId, JobId, ProjectId, new_id
from isolet.jobs.backlog import Backlog
from isolet.jobs.calls import Calls
from isolet.jobs.copies import settle
from isolet.jobs.deliveries import Deliveries
from isolet.jobs.leases import Leases
from isolet.jobs.worker import Worker
from isolet.jobs.writes import Writes
from isolet.routing.routes import Route
from isolet.tasks import Tasks
from isolet.telemetry import get_logger

log = get_logger("jobs")

_Get = Callable[[Connection, JobId], Job | None]
IDEMPOTENCY_MS = 24 * 3_600_000
# The store reads all of a result for each part of it; to write a part as JSON holds up every thread.
RESULT_PART_BYTES = 524_288
_DELETED_AT_ONCE = 100
_PRUNE_EVERY = 12
_PRUNE_ROWS = 5_000
_BULK_MAX = 1_000
_COUNTED_S = 2.0
_COUNT_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncCall:
    """What a door hands over. `target` is what the function sees as path and query."""

    route: Route
    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    callback_url: str | None = None
    idempotency_key: str | None = None
    digest: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A call, and the delivery of its callback when there is one, both without bodies."""

    call: Job
    callback: Job | None


class Jobs:
    """`owner` names this server and outlives it, so that its next start takes back what it left running.

    `copied` says that the database is known to be a copy, `adopt` to run what a copy has queued; `held` is how many
    jobs it has that it does not run.
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        owner: str,
        calls: Calls,
        deliveries: Deliveries,
        call_capacity: int,
        delivery_capacity: int,
        retention_ms: int,
        limits_of: Callable[[ProjectId], ProjectLimits],
        memory_bytes: int,
        crash_limit: int,
        copied: bool = False,
        adopt: bool = False,
    ) -> None:
        self._copied = copied
        self._adopt = adopt
        self.held = 0
        self._database = database
        self._clock = clock
        self._retention_ms = retention_ms
        self._writes = Writes(database)
        self.backlog = Backlog(database, limits_of)
        worker = partial(
            Worker,
            owner=owner,
            writes=self._writes,
            database=database,
            clock=clock,
            bodies=BodyBudget(memory_bytes),
            backlog=self.backlog,
        )
        self.callbacks = worker(JobKind.CALLBACK, capacity=delivery_capacity, runner=deliveries)
        self.calls = worker(JobKind.CALL, capacity=call_capacity, runner=calls, following=self.callbacks)
        self._leases = Leases(
            database=database,
            clock=clock,
            owner=owner,
            workers={JobKind.CALL: self.calls, JobKind.CALLBACK: self.callbacks},
            runners={JobKind.CALL: calls, JobKind.CALLBACK: deliveries},
            crash_limit=crash_limit,
        )
        self._counting = asyncio.Lock()
        self._counted_at: float | None = None
        self._counts: Mapping[tuple[JobKind, JobState], int] = {}

    # The loops.

    async def start(self, loops: Tasks) -> None:
        """Take back what an earlier run of this server left, then work; but hold what a copied database has queued."""
        self.held = await settle(self._database, self._clock, copied=self._copied, adopt=self._adopt)
        left = await self._leases.take_back()
        await self.backlog.count()
        if left:
            log.warning("jobs that were running when the server ended go on", count=left)
        loops.loop(self._writes.run(), name="job writes")
        loops.loop(self.calls.run(), name="calls")
        loops.loop(self.callbacks.run(), name="callbacks")
        loops.loop(self._keep_leases(), name="leases")

    def cut(self) -> None:
        """Claim no more, and hand back what runs."""
        self.calls.cut()
        self.callbacks.cut()

    async def drain(self, timeout_s: float) -> None:
        """Let running jobs finish, then hand them back."""
        await asyncio.gather(self.calls.drain(timeout_s), self.callbacks.drain(min(timeout_s, 5.0)))

    async def _keep_leases(self) -> None:
        rounds = 0
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            try:
                await self._leases.beat()
                await self.backlog.count()
                if rounds % _PRUNE_EVERY == 0:
                    await self._prune()
            except StoreError as exc:
                log.error("cannot keep the leases of jobs", error=exc.message)
            rounds += 1

    async def _prune(self) -> None:
        now_ms = self._clock.now_ms()
        await self._database.write(
            stored.prune, ended_before_ms=now_ms - self._retention_ms, now_ms=now_ms, limit=_PRUNE_ROWS
        )

    # Use cases.

    async def accept(self, call: AsyncCall) -> JobId:
        """Keep a call; when this returns it is on disk.

        Raises InvalidInput for a key that was used otherwise, TooManyRequests when the project has too many, TooLarge.
        """
        now_ms = self._clock.now_ms()
        job = Job(
            id=JobId(new_id()),
            kind=JobKind.CALL,
            project_id=call.route.project_id,
            function_id=call.route.function_id,
            function_name=call.route.name,
            lane=lane(call.route.project_id, call.route.function_id),
            method=call.method,
            target=call.target,
            created_at_ms=now_ms,
            due_at_ms=now_ms,
            headers=call.headers,
            body=call.body,
            callback_url=call.callback_url,
        )
        key = call.idempotency_key
        used = (
            Idempotency(key=key, digest=call.digest, expires_at_ms=now_ms + IDEMPOTENCY_MS) if key is not None else None
        )
        return await self._keep(job, used)

    async def _keep(self, job: Job, idempotency: Idempotency | None = None) -> JobId:
        with self.backlog.admitted(job):
            reserved = self.calls.reserve(job)
            try:
                kept = await self._writes.submit(stored.accept, stored.Accepted(job=reserved, idempotency=idempotency))
            except BaseException:
                self.calls.dropped(reserved)
                raise
            if kept.new:
                self.backlog.added(reserved)
        if kept.new:
            self.calls.kept(reserved)
        else:
            self.calls.dropped(reserved)
            if not kept.same:
                raise InvalidInput("Idempotency-Key was used for another request")
        return kept.id

    async def status(self, job_id: str, project_id: ProjectId | None) -> Status:
        """A call of that project, or of any when None, without its bodies. Raises NotFound."""
        return await self._status(job_id, project_id, stored.get_light)

    async def result_part(self, job_id: JobId, start: int) -> bytes:
        """`RESULT_PART_BYTES` of a call's result, fewer at its end. Raises NotFound when it is gone."""
        part = await self._database.read(stored.get_result_part, job_id, start, RESULT_PART_BYTES)
        if part is None:
            raise NotFound("Invocation not found")
        return part

    async def _status(self, job_id: str, project_id: ProjectId | None, get: _Get) -> Status:
        call = await self._database.read(get, JobId(job_id))
        if call is None or call.kind is not JobKind.CALL or (project_id is not None and call.project_id != project_id):
            raise NotFound("Invocation not found")
        return Status(call=call, callback=await self._database.read(stored.callback_of, call.id))

    async def find(self, wanted: CallFilter, state: JobState) -> tuple[Sequence[Job], str | None]:
        """A page of calls in that state, newest first, and where the next page begins; None at the end."""
        return await self._database.read(find_calls, wanted, state)

    async def cancel(self, job_id: str, project_id: ProjectId | None) -> Status:
        """End a call that waits or runs. Raises NotFound, and Conflict for one that has ended."""
        call = (await self.status(job_id, project_id)).call
        state = await self._database.write(stored.cancel, call.id, self._clock.now_ms())
        if state is None:
            raise Conflict("The invocation has ended already")
        if state.ended:
            self.backlog.ended(call)
        self.calls.cancel(call.id)
        return await self.status(job_id, project_id)

    async def replay(self, job_id: str, project_id: ProjectId | None) -> JobId:
        """Make the same call again, under an id of its own. Raises NotFound, TooManyRequests."""
        call = (await self._status(job_id, project_id, stored.get)).call
        again = asked_again(call, JobId(new_id()), self._clock.now_ms())
        return await self._keep(again)

    async def redeliver(self, job_id: str, project_id: ProjectId | None) -> Status:
        """Send a call's callback again.

        Raises NotFound, Conflict while it is on its way or there is none, TooManyRequests.
        """
        status = await self.status(job_id, project_id)
        if status.callback is None:
            raise Conflict("The invocation has no callback to deliver")
        callback = status.callback
        if not callback.state.ended:
            raise Conflict("The callback is being delivered already")
        with self.backlog.admitted(callback):
            if not await self._database.write(stored.reopen, [callback.id], self._clock.now_ms()):
                raise Conflict("The callback is being delivered already")
            self.backlog.added(callback)
        self.callbacks.wake()
        return await self.status(job_id, project_id)

    async def deliveries(
        self,
        project_id: ProjectId | None,
        *,
        state: JobState | None = None,
        function_id: str | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
        before: str | None = None,
        limit: int,
    ) -> Sequence[Job]:
        """Newest first."""
        return await self._database.read(
            stored.list_deliveries,
            project_id,
            state=state,
            function_id=None if function_id is None else FunctionId(function_id),
            since_ms=since_ms,
            until_ms=until_ms,
            before=None if before is None else JobId(before),
            limit=limit,
        )

    async def redeliver_all(
        self,
        project_id: ProjectId | None,
        *,
        function_id: str | None = None,
        host: str | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
    ) -> int:
        """Send the failed callbacks again that the filter finds, at most 1,000 at a time; how many."""
        found = await self.deliveries(
            project_id,
            state=JobState.FAILED,
            function_id=function_id,
            since_ms=since_ms,
            until_ms=until_ms,
            limit=_BULK_MAX,
        )
        chosen = [job for job in found if host is None or host_of(job.target) == host.lower()]
        count = await self._reopen(chosen)
        self.callbacks.wake()
        return count

    async def _reopen(self, deliveries: Sequence[Job]) -> int:
        """As many of them as their projects have room for; how many. Raises TooManyRequests when it is for none."""
        taken: list[Job] = []
        with ExitStack() as stack:
            for job in deliveries:
                try:
                    stack.enter_context(self.backlog.admitted(job))
                except TooManyRequests:
                    if not taken:
                        raise
                    break
                taken.append(job)
            count = await self._database.write(stored.reopen, [job.id for job in taken], self._clock.now_ms())
            for job in taken[:count]:
                self.backlog.added(job)
        return count

    async def counts(self) -> Mapping[tuple[JobKind, JobState], int]:
        """Jobs that wait and run on all servers, at most two seconds old; the last known while the store is away."""
        async with self._counting:
            if self._counted_at is None or time.monotonic() - self._counted_at > _COUNTED_S:
                try:
                    async with asyncio.timeout(_COUNT_TIMEOUT_S):
                        self._counts = await self._database.read(stored.count_open)
                except (StoreError, TimeoutError) as exc:
                    log.warning("cannot count jobs", error=str(exc))
                self._counted_at = time.monotonic()
        return self._counts

    async def delete_project(self, project_id: ProjectId) -> None:
        """What it had queued, and what has ended, in small pieces between which others write."""
        after: str | None = ""
        while after is not None:
            ids, after = await self._database.read(stored.ids_of_project, project_id, after)
            for first in range(0, len(ids), _DELETED_AT_ONCE):
                await self._database.write(stored.delete_jobs, ids[first : first + _DELETED_AT_ONCE])
        self.calls.forget_project(project_id)
        self.callbacks.forget_project(project_id)
        self.backlog.forget(project_id)
