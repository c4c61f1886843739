"""The kind of jobs that run firings: the function's `scheduled` handler, or a POST where it has none.

Of a workflow a firing begins a run, in the transaction that ends the job. The firing ends when the run does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from isolet.clock import Clock, iso
from isolet.database import schedules as stored
from isolet.database.conclusions import JoinRefused, Outcome
from isolet.database.connection import Connection, Database
from isolet.database.firing_ends import note_end
from isolet.domain.jobs import NO_ROOM_DELAY_MS, Attempt, Job, JobEvent, JobState, concluded
from isolet.domain.schedules import FiringStatus, Overlap, Schedule
from isolet.errors import (
    ExecutionError,
    LimitReached,
    NotDeployed,
    NotFound,
    RequestError,
    StoreRefused,
    TooManyRequests,
    Unavailable,
)
from isolet.ids import InvocationId, JobId, ScheduleId, new_id
from isolet.invoke.invoker import Invoker
from isolet.invoke.scheduled import Firing, fire
from isolet.jobs.handler import Handler
from isolet.routing.routes import Route, Routes
from isolet.schedules.flow_starts import FlowStart, FlowStarts

_AT_ONCE = 16
_BACKOFF_MAX_MS = 3_600_000
# How often a firing looks whether the run of the workflow before it has ended: a tenth of how long it waits.
_WAIT_MIN_MS, _WAIT_MAX_MS = 500, 60_000
_STATUSES = {
    JobState.SUCCEEDED: FiringStatus.SUCCEEDED,
    JobState.FAILED: FiringStatus.FAILED,
    JobState.CANCELLED: FiringStatus.FAILED,
    JobState.QUEUED: FiringStatus.QUEUED,
    JobState.RUNNING: FiringStatus.RUNNING,
}


class _Asked(Struct, frozen=True, kw_only=True):
    schedule_id: ScheduleId
    due_ms: int
    counted: bool

    @classmethod
    def of(cls, job: Job) -> _Asked:
        return cls(**json.loads(job.payload))


class Firings(Handler):
    """`find` asks the store for a function that the routes do not have: another server may have just made it."""

    def __init__(
        self,
        *,
        database: Database,
        routes: Routes,
        find: Callable[[str], Awaitable[Route | None]],
        invoker: Invoker,
        flows: FlowStarts,
        clock: Clock,
    ) -> None:
        self._database = database
        self._routes = routes
        self._find = find
        self._invoker = invoker
        self._flows = flows
        self._clock = clock

    def lane(self, job: Job) -> str:
        """Jobs come with their lanes."""
        return job.lane.partition(":")[2] or f"{_Asked.of(job).schedule_id}/{Overlap.QUEUE}"

    def lane_limit(self, lane: str) -> int:
        return _AT_ONCE if lane.endswith(f"/{Overlap.ALLOW}") else 1

    def alone(self, lane: str) -> bool:
        return self.lane_limit(lane) == 1

    async def run(self, job: Job) -> Outcome:
        asked = _Asked.of(job)
        began_ms, began = self._clock.now_ms(), time.monotonic()
        try:
            schedule = await self._database.read(stored.get_schedule, asked.schedule_id)
        except NotFound:
            return self._ended(job, JobEvent.FAILED, "the schedule was deleted", began_ms, began)
        if asked.counted and not schedule.enabled:
            outcome = self._ended(job, JobEvent.FAILED, "the schedule was paused", began_ms, began)
            return replace(outcome, join=_skip)
        if schedule.workflow_id is not None:
            return await self._start_flow(job, schedule, asked, began_ms, began)
        number = job.attempts + 1
        invocation_id = InvocationId(job.id if number == 1 and not job.crashes else new_id())
        started = {"status": FiringStatus.RUNNING.value, "attempt": number, "invocation_id": invocation_id}
        await self._database.write(partial(_change, firing_id=job.id, values=started))
        try:
            route = await self._route(job)
            result = await fire(self._invoker, route, _firing(schedule, asked, number), invocation_id=invocation_id)
        except (TooManyRequests, Unavailable):
            return self._later(job, NO_ROOM_DELAY_MS)
        except (ExecutionError, NotFound, NotDeployed) as exc:
            return self._failed_try(job, schedule, exc.message, began_ms, began)
        if result.error is None:
            return self._ended(job, JobEvent.SUCCEEDED, None, began_ms, began)
        if result.no_retry:
            return self._ended(job, JobEvent.FAILED, result.error, began_ms, began)
        return self._failed_try(job, schedule, result.error, began_ms, began)

    async def _start_flow(self, job: Job, schedule: Schedule, asked: _Asked, began_ms: int, began: float) -> Outcome:
        alone = schedule.policies.overlap is not Overlap.ALLOW
        if alone and await self._database.read(stored.has_open_run, schedule.id):
            waited_ms = began_ms - job.created_at_ms
            return self._later(job, min(max(waited_ms // 10, _WAIT_MIN_MS), _WAIT_MAX_MS))
        try:
            start = await self._flows.draft(schedule, asked.due_ms, job.id)
            # What is refused as the run is written is not tried again.
            await self._database.read(start.check)
        except (TooManyRequests, Unavailable):
            return self._later(job, NO_ROOM_DELAY_MS)
        except (RequestError, StoreRefused) as exc:
            return self._failed_try(job, schedule, exc.message, began_ms, began)
        ended = self._ended(job, JobEvent.SUCCEEDED, None, began_ms, began)
        return replace(ended, join=partial(_begin, start, job.attempts + 1))

    def failed(self, job: Job, attempt: Attempt, now_ms: int) -> Outcome:
        return Outcome(job=concluded(job, JobEvent.FAILED, now_ms, attempt=attempt), join=_note)

    def cancelled(self, job: Job, attempt: Attempt, now_ms: int) -> Outcome:
        return Outcome(job=concluded(job, JobEvent.CANCELLED, now_ms, attempt=attempt), join=_note)

    async def _route(self, job: Job) -> Route:
        route = self._routes.function(job.function_id)
        if route is None or route.version is None:
            route = await self._find(job.function_id)
        if route is None:
            raise NotFound("function not found")
        return route

    def _later(self, job: Job, delay_ms: int) -> Outcome:
        """Not a try: the job waits for room, or for the run before."""
        after = concluded(job, JobEvent.HANDED_BACK, self._clock.now_ms(), attempt=None, delay_ms=delay_ms)
        return Outcome(job=after)

    def _failed_try(self, job: Job, schedule: Schedule, error: str, began_ms: int, began: float) -> Outcome:
        """Once more after a while, which doubles, as often as the schedule says."""
        policies = schedule.policies
        if job.attempts >= policies.retries:
            return self._ended(job, JobEvent.FAILED, error, began_ms, began)
        delay_ms = min(policies.retry_backoff_s * 1000 * 2**job.attempts, _BACKOFF_MAX_MS)
        return self._ended(job, JobEvent.RETRIED, error, began_ms, began, delay_ms=delay_ms)

    def _ended(
        self, job: Job, event: JobEvent, error: str | None, began_ms: int, began: float, *, delay_ms: int = 0
    ) -> Outcome:
        attempt = Attempt(at_ms=began_ms, duration_ms=round((time.monotonic() - began) * 1000), error=error)
        after = concluded(job, event, self._clock.now_ms(), attempt=attempt, delay_ms=delay_ms)
        return Outcome(job=after, join=_note)


def _firing(schedule: Schedule, asked: _Asked, attempt: int) -> Firing:
    body: dict[str, Any] = {
        "trigger": "cron",
        "schedule": schedule.cron.text,
        "schedule_id": schedule.id,
        "scheduled_time": iso(asked.due_ms),
        "timezone": schedule.cron.zone,
        "attempt": attempt,
    }
    if schedule.payload is not None:
        body["payload"] = schedule.payload
    return Firing(cron=schedule.cron.text, scheduled_time_ms=asked.due_ms, post=body)


def _change(connection: Connection, firing_id: JobId, values: Mapping[str, Any]) -> None:
    stored.change_firing(connection, firing_id, **values)


def _note(connection: Connection, job: Job) -> list[Job]:
    """In the transaction that ends a try: what became of the firing, and what follows of it for the schedule."""
    asked = _Asked.of(job)
    status = _STATUSES[job.state]
    stored.change_firing(connection, job.id, status=status.value)
    if job.state.ended:
        note_end(connection, job.id, asked.schedule_id, status, counted=asked.counted, at_ms=job.finished_at_ms)
    return []


def _begin(start: FlowStart, attempt: int, connection: Connection, job: Job) -> Sequence[Job]:
    """Write the run, unless the end of the firing was asked for meanwhile."""
    if job.state is not JobState.SUCCEEDED:
        return _note(connection, job)
    try:
        start.write(connection)
    except LimitReached as exc:
        raise JoinRefused(exc.message) from exc
    stored.change_firing(
        connection, job.id, status=FiringStatus.RUNNING.value, attempt=attempt, invocation_id=start.execution_id
    )
    return start.jobs


def _skip(connection: Connection, job: Job) -> list[Job]:
    stored.change_firing(connection, job.id, status=FiringStatus.SKIPPED.value)
    return []
