"""The transaction that deals with the due times of a schedule: it moves that on, and keeps firings with their jobs.

Servers that look at the same time take turns at the row of the schedule; who comes second finds nothing due.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection

from isolet.database import jobs as stored_jobs
from isolet.database import schedules as stored
from isolet.database.run_changes import change_status
from isolet.domain.flows.runs import RunStatus
from isolet.domain.jobs import Job, JobKind, lane
from isolet.domain.schedules import Firing, FiringStatus, Overlap, Schedule, in_ms, moment, plan
from isolet.errors import InvalidInput, NotFound
from isolet.ids import FunctionId, JobId, ProjectId, ScheduleId

CRON = JobKind("cron")
# Of the jobs that were not run one firing each is kept, the newest of them.
_MISSED_SHOWN = 20
_REPLACED = "replaced by the next run of its schedule"


class Dealt(Struct, frozen=True, kw_only=True):
    """`jobs` were queued, the end of `cancelled` was asked for. `late_ms` is how late the latest due time was found."""

    schedule: Schedule
    jobs: Sequence[Job] = ()
    cancelled: Sequence[JobId] = ()
    missed: int = 0
    late_ms: int = 0


def deal(
    connection: Connection,
    schedule_id: ScheduleId,
    *,
    now_ms: int,
    since_ms: int,
    new_id: Callable[[], str],
    full: Collection[ProjectId] = (),
) -> Dealt | None:
    """Deal with what is due by now of one schedule; None when nothing is any more.

    Projects that are `full` have as many jobs as they may: what is due of them is missed.
    """
    try:
        schedule = stored.get_schedule(connection, schedule_id, for_update=True)
    except NotFound:
        return None
    if not schedule.enabled or schedule.next_fire_ms is None or schedule.next_fire_ms > now_ms:
        return None
    # Jitter moves all due times alike, so the clock is moved instead.
    jitter_ms = schedule.jitter_ms
    planned = plan(
        schedule.cron,
        schedule.policies,
        last_due=moment(schedule.seen_ms),
        now=moment(now_ms - jitter_ms),
        since=moment(since_ms - jitter_ms),
    )
    if schedule.project_id in full:
        planned = replace(
            planned, runs=(), passed=(*planned.passed, *planned.runs), missed=planned.missed + len(planned.runs)
        )
    after = replace(
        schedule,
        seen_ms=in_ms(planned.last_due),
        next_due_ms=None if planned.next_due is None else in_ms(planned.next_due),
        last_due_ms=in_ms(planned.runs[-1]) if planned.runs else schedule.last_due_ms,
        missed_total=schedule.missed_total + planned.missed,
    )
    stored.write_schedule(connection, after)
    for due in planned.passed[-_MISSED_SHOWN:]:
        _keep(connection, after, due, now_ms, new_id, FiringStatus.MISSED)
    jobs, cancelled = begin(connection, after, planned.runs, now_ms=now_ms, new_id=new_id, counted=True)
    stored.prune_firings(connection, schedule_id)
    late_ms = now_ms - jitter_ms - in_ms(planned.runs[-1]) if planned.runs else 0
    return Dealt(schedule=after, jobs=jobs, cancelled=cancelled, missed=planned.missed, late_ms=late_ms)


def begin(
    connection: Connection,
    schedule: Schedule,
    dues: Sequence[datetime],
    *,
    now_ms: int,
    new_id: Callable[[], str],
    counted: bool,
) -> tuple[list[Job], list[JobId]]:
    """Keep a firing for each due time, with its job; the jobs, and those whose end was asked for.

    `skip` drops a single one while another is open. Of several, which are made up for, each waits for the one before.
    """
    if schedule.workflow_id is not None:
        stored.end_lost_firings(connection, schedule.id)
    running = stored.open_firings(connection, schedule.id)
    overlap = schedule.policies.overlap
    if overlap is Overlap.SKIP and running and len(dues) == 1:
        _keep(connection, schedule, dues[0], now_ms, new_id, FiringStatus.SKIPPED, counted=counted)
        return [], []
    jobs: list[Job] = []
    cancelled: list[JobId] = []
    if overlap is Overlap.REPLACE and dues:
        for job_id in running:
            stored_jobs.cancel(connection, job_id, now_ms)
            stored.change_firing(connection, job_id, status=FiringStatus.FAILED.value)
        cancelled = running if schedule.workflow_id is None else [*running, *_end_runs(connection, running, now_ms)]
    named = "" if schedule.function_id is None else stored.function_name(connection, schedule.function_id)
    for due in dues:
        firing = _keep(connection, schedule, due, now_ms, new_id, FiringStatus.QUEUED, counted=counted)
        if firing is not None:
            jobs.append(_job(schedule, firing, named, now_ms))
    stored_jobs.insert_jobs(connection, jobs)
    return jobs, cancelled


def _end_runs(connection: Connection, firing_ids: Sequence[JobId], now_ms: int) -> list[JobId]:
    """End the runs of workflows that these firings began; the jobs whose end was asked for."""
    cancelled: list[JobId] = []
    for firing_id in firing_ids:
        # One may not have begun, and another have ended just now.
        with contextlib.suppress(NotFound, InvalidInput):
            ended = change_status(connection, firing_id, RunStatus.ENDED, why=_REPLACED, now_ms=now_ms)
            cancelled += ended.cancelled
    return cancelled


def _keep(
    connection: Connection,
    schedule: Schedule,
    due: datetime,
    now_ms: int,
    new_id: Callable[[], str],
    status: FiringStatus,
    *,
    counted: bool = True,
) -> Firing | None:
    """None when the due time was dealt with before."""
    firing = Firing(
        id=JobId(new_id()),
        schedule_id=schedule.id,
        due_ms=in_ms(due),
        fired_at_ms=now_ms,
        status=status,
        counted=counted,
    )
    if counted and stored.has_firing(connection, firing.key):
        return None
    stored.insert_firing(connection, firing)
    return firing


def _job(schedule: Schedule, firing: Firing, function_name: str, now_ms: int) -> Job:
    return Job(
        id=firing.id,
        kind=CRON,
        project_id=schedule.project_id,
        function_id=schedule.function_id or FunctionId(""),
        function_name=function_name,
        created_at_ms=now_ms,
        due_at_ms=now_ms,
        lane=lane(schedule.project_id, lane_part(schedule)),
        target=schedule.name,
        payload=json.dumps({"schedule_id": schedule.id, "due_ms": firing.due_ms, "counted": firing.counted}),
    )


def lane_part(schedule: Schedule) -> str:
    """Firings of one schedule share a lane, which says whether they may run side by side."""
    return f"{schedule.id}/{schedule.policies.overlap.value}"
