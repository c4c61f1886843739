"""Schedules: create, change, pause, run now, make up for a stretch of time, and look ahead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from itertools import islice, takewhile
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from isolet.clock import Clock
from isolet.database import jobs as stored_jobs
from isolet.database import schedules as stored
from isolet.database.code_sizes import Room, no_bound
from isolet.database.connection import Connection, Database
from isolet.database.due_times import begin
from isolet.database.settings_sizes import note_payload
from isolet.domain.cron import Cron, Dialect, first, read_cron
from isolet.domain.functions import Function, check_text
from isolet.domain.jobs import Job
from isolet.domain.schedules import (
    BACKFILL_MAX,
    POLICIES,
    Firing,
    FiringStatus,
    Overlap,
    Schedule,
    check_payload,
    check_schedule_name,
    in_ms,
    moment,
    paused,
    started,
)
from isolet.errors import InvalidInput
from isolet.ids import FunctionId, JobId, ProjectId, ScheduleId, WorkflowId, new_id
from isolet.jobs.engine import Engine
from isolet.schedules.flow_starts import FlowStart, FlowStarts
from isolet.schedules.scheduler import Scheduler

_MEMBERS = frozenset({"cron", "name", "dialect", "timezone", "payload", "enabled", *POLICIES})
_REASON_MAX_CHARS = 500


class _Changed(Struct, frozen=True):
    schedule: Schedule
    cancelled: Sequence[JobId] = ()


class Schedules:
    """Every change is on disk before a method returns, and counts at once on every server. `most` is how many schedules
    a project may have, `room` how many bytes their payloads may take, with the settings of functions.
    """

    def __init__(
        self,
        *,
        database: Database,
        engine: Engine,
        scheduler: Scheduler,
        clock: Clock,
        flows: FlowStarts,
        most: Callable[[ProjectId], int],
        room: Room = no_bound,
    ) -> None:
        self._database = database
        self._room = room
        self._flows = flows
        self._engine = engine
        self._scheduler = scheduler
        self._clock = clock
        self._most = most

    async def create(self, function: Function, values: Mapping[str, Any]) -> Schedule:
        """From what a client sent. Raises InvalidInput, Conflict, LimitReached, NotFound."""
        return await self._create(function.project_id, values, function_id=function.id)

    async def create_of_workflow(
        self, project_id: ProjectId, workflow_id: WorkflowId, values: Mapping[str, Any]
    ) -> Schedule:
        """The same for a workflow, whose runs begin with the payload as their variables."""
        return await self._create(project_id, values, workflow_id=workflow_id)

    async def _create(
        self,
        project_id: ProjectId,
        values: Mapping[str, Any],
        *,
        function_id: FunctionId | None = None,
        workflow_id: WorkflowId | None = None,
    ) -> Schedule:
        now_ms = self._clock.now_ms()
        schedule_id = ScheduleId(new_id())
        empty = Schedule(
            id=schedule_id,
            project_id=project_id,
            function_id=function_id,
            workflow_id=workflow_id,
            name=f"schedule-{schedule_id[-12:]}",
            cron=_cron(values, None),
            seen_ms=now_ms,
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
        )
        schedule = started(_changed(empty, values), now_ms)
        insert = partial(_insert, schedule=schedule, most=self._most(project_id), room=self._room)
        await self._database.write(insert)
        self._scheduler.changed()
        return schedule

    async def get(self, schedule_id: str) -> Schedule:
        """Raises NotFound."""
        return await self._database.read(stored.get_schedule, ScheduleId(schedule_id))

    async def list(
        self,
        project_id: ProjectId | None,
        function_id: FunctionId | None,
        *,
        workflow_id: WorkflowId | None = None,
        after: str | None,
        limit: int,
    ) -> Sequence[Schedule]:
        read = partial(
            stored.list_schedules,
            project_id=project_id,
            function_id=function_id,
            workflow_id=workflow_id,
            after=None if after is None else ScheduleId(after),
            limit=limit,
        )
        return await self._database.read(read)

    async def change(self, schedule: Schedule, values: Mapping[str, Any]) -> Schedule:
        """Only what is sent changes. Raises InvalidInput, Conflict, NotFound, LimitReached."""

        def modify(before: Schedule) -> Schedule:
            now_ms = self._clock.now_ms()
            after = replace(_changed(before, values), updated_at_ms=now_ms)
            timing = (after.cron, after.enabled) != (before.cron, before.enabled)
            return started(after, now_ms) if timing else after

        change = partial(_change, schedule_id=schedule.id, modify=modify, room=self._room)
        changed = await self._database.write(change)
        self._scheduler.changed()
        return changed

    async def delete(self, schedule: Schedule) -> None:
        """With its firings; those that wait or run are ended."""
        cancelled = await self._database.write(partial(_delete, schedule_id=schedule.id, now_ms=self._clock.now_ms()))
        self._engine.joined([], cancelled)

    async def pause(self, schedule: Schedule, reason: object = None) -> Schedule:
        """Raises InvalidInput, NotFound."""
        if reason is not None:
            reason = check_text("reason", reason, max_chars=_REASON_MAX_CHARS, allow_empty=True)
        now_ms = self._clock.now_ms()
        return await self._database.write(
            stored.modify_schedule, schedule.id, lambda before: paused(before, reason, now_ms)
        )

    async def resume(self, schedule: Schedule) -> Schedule:
        now_ms = self._clock.now_ms()

        def modify(before: Schedule) -> Schedule:
            if before.enabled:
                return before
            after = replace(before, enabled=True, paused_reason=None, failures=0, updated_at_ms=now_ms)
            return started(after, now_ms)

        resumed = await self._database.write(stored.modify_schedule, schedule.id, modify)
        self._scheduler.changed()
        return resumed

    async def run_now(self, schedule: Schedule) -> str | None:
        """One firing outside the count; the id of its invocation, or of the workflow's run.

        None when the policy of overlaps skipped it. Raises InvalidInput when the workflow is not active, LimitReached,
        TooManyRequests.
        """
        if schedule.workflow_id is not None:
            return await self._start_now(schedule)
        jobs = await self._begin(schedule, [moment(self._clock.now_ms())])
        return jobs[0] if jobs else None

    async def _start_now(self, schedule: Schedule) -> JobId | None:
        """The run begins before this returns, unless it has to wait for the one before."""
        now_ms, firing_id = self._clock.now_ms(), JobId(new_id())
        start = await self._flows.draft(schedule, now_ms, firing_id)
        work = partial(_start_or_queue, schedule_id=schedule.id, start=start, firing_id=firing_id, now_ms=now_ms)
        with ExitStack() as stack:
            for job in start.jobs:
                stack.enter_context(self._engine.backlog.admitted(job))
            begun, jobs, cancelled = await self._database.write(work)
        self._engine.joined(jobs, cancelled)
        return begun

    async def backfill(self, schedule: Schedule, begin_at: object, end_at: object) -> int:
        """Run every due time from one moment to another, both included, in order; how many.

        Raises InvalidInput, TooManyRequests.
        """
        start, end = _moment("from", begin_at), _moment("to", end_at)
        if start > end:
            raise InvalidInput("from: must not be after to")
        before = moment(in_ms(start) - 1)
        # Not beyond the end: rare due times are years apart, and calendars end.
        found = takewhile(lambda due: due <= end, schedule.cron.after(before))
        dues = await asyncio.to_thread(lambda: list(islice(found, BACKFILL_MAX + 1)))
        if len(dues) > BACKFILL_MAX:
            raise InvalidInput(f"to: there are more than {BACKFILL_MAX} due times")
        await self._begin(schedule, dues)
        return len(dues)

    async def firings(self, schedule: Schedule, *, before: str | None, limit: int) -> Sequence[Firing]:
        """Newest first."""
        cursor = None if before is None else JobId(before)
        return await self._database.read(
            partial(stored.list_firings, schedule_id=schedule.id, before=cursor, limit=limit)
        )

    async def preview(self, cron: Cron, count: int) -> Sequence[datetime]:
        """In a thread: a hundred times may be looked for over thousands of years."""
        return await asyncio.to_thread(first, cron, moment(self._clock.now_ms()), count)

    async def _begin(self, schedule: Schedule, dues: Sequence[datetime]) -> Sequence[JobId]:
        work = partial(_begin_now, schedule_id=schedule.id, dues=dues, now_ms=self._clock.now_ms())
        with self._engine.backlog.reserved(schedule.project_id, len(dues)):
            jobs, cancelled = await self._database.write(work)
        self._engine.joined(jobs, cancelled)
        return [job.id for job in jobs]


def _insert(connection: Connection, schedule: Schedule, most: int, room: Room) -> None:
    stored.insert_schedule(connection, schedule, most=most)
    note_payload(connection, schedule.id, room)


def _change(
    connection: Connection, schedule_id: ScheduleId, modify: Callable[[Schedule], Schedule], room: Room
) -> Schedule:
    after = stored.modify_schedule(connection, schedule_id, modify)
    note_payload(connection, schedule_id, room)
    return after


def _begin_now(connection: Connection, schedule_id: ScheduleId, dues: Sequence[datetime], now_ms: int) -> Any:
    schedule = stored.get_schedule(connection, schedule_id, for_update=True)
    return begin(connection, schedule, dues, now_ms=now_ms, new_id=new_id, counted=False)


def _start_or_queue(
    connection: Connection, schedule_id: ScheduleId, start: FlowStart, firing_id: JobId, now_ms: int
) -> tuple[JobId | None, Sequence[Job], Sequence[JobId]]:
    schedule = stored.get_schedule(connection, schedule_id, for_update=True)
    stored.end_lost_firings(connection, schedule_id)
    if schedule.policies.overlap is not Overlap.ALLOW and stored.open_firings(connection, schedule_id):
        now = moment(now_ms)
        jobs, cancelled = begin(connection, schedule, [now], now_ms=now_ms, new_id=new_id, counted=False)
        return (jobs[0].id if jobs else None), jobs, cancelled
    firing = Firing(
        id=firing_id,
        schedule_id=schedule_id,
        due_ms=now_ms,
        fired_at_ms=now_ms,
        status=FiringStatus.RUNNING,
        counted=False,
        attempt=1,
        run_id=start.execution_id,
    )
    stored.insert_firing(connection, firing)
    start.write(connection)
    stored_jobs.insert_jobs(connection, start.jobs)
    return firing_id, start.jobs, ()


def _delete(connection: Connection, schedule_id: ScheduleId, now_ms: int) -> list[JobId]:
    stored.get_schedule(connection, schedule_id, for_update=True)
    running = stored.open_firings(connection, schedule_id)
    for job_id in running:
        stored_jobs.cancel(connection, job_id, now_ms)
    stored.delete_schedule(connection, schedule_id)
    return running


def _cron(values: Mapping[str, Any], before: Cron | None) -> Cron:
    dialect = values.get("dialect", Dialect.STANDARD if before is None else before.dialect)
    zone = values.get("timezone", None if before is None else before.zone)
    text = values.get("cron", None if before is None else before.text)
    return read_cron(text, zone=zone, dialect=dialect)


def _changed(before: Schedule, values: Mapping[str, Any]) -> Schedule:
    """Raises InvalidInput, and then nothing is to change."""
    for name in values:
        if name not in _MEMBERS:
            raise InvalidInput(f"{name[:100]}: is not known")
    after = before
    if {"cron", "dialect", "timezone"} & values.keys():
        after = replace(after, cron=_cron(values, before.cron))
    if values.get("name") is not None:
        after = replace(after, name=check_schedule_name(values["name"]))
    if "payload" in values:
        payload = check_payload(values["payload"], of_workflow=before.workflow_id is not None)
        after = replace(after, payload=payload)
    if "enabled" in values:
        if not isinstance(values["enabled"], bool):
            raise InvalidInput("enabled: must be true or false")
        reason = None if values["enabled"] else after.paused_reason
        after = replace(after, enabled=values["enabled"], paused_reason=reason)
    policies = {name: values[name] for name in POLICIES if name in values}
    return replace(after, policies=after.policies.changed(policies)) if policies else after


def _moment(field: str, value: object) -> datetime:
    try:
        when = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        when = None
    if when is None or not 1970 < when.year < 2200:
        raise InvalidInput(f"{field}: must be a time such as 2027-01-31T12:00:00Z, from 1971 to 2199")
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
