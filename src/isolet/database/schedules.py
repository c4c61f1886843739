"""Schedules and firings in the database. A firing is written in the transaction that moves its schedule on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace
from sqlalchemy import ColumnElement, Connection, Row, Table, delete, exists, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from isolet.database import leftovers
from isolet.database.engine import is_orphan
from isolet.database.projects import lock_project
from isolet.database.tables.executions import executions
from isolet.database.tables.functions import functions
from isolet.database.tables.schedules import firings, schedules, space_triggers
from isolet.database.tables.workflows import workflows
from isolet.domain.cron import Cron, Dialect, read_cron
from isolet.domain.functions import Function
from isolet.domain.schedules import (
    OPTIONS_NAME,
    SCHEDULES_MAX,
    TRIGGER_NAME,
    Firing,
    FiringStatus,
    Policies,
    Schedule,
    started,
)
from isolet.domain.triggers import CronTrigger
from isolet.errors import Conflict, InvalidInput, LimitReached, NotFound
from isolet.ids import FunctionId, JobId, ProjectId, ScheduleId, WorkflowId, first_of_ms, new_id

FIRINGS_KEPT = 1_000
_OPEN = (FiringStatus.QUEUED.value, FiringStatus.RUNNING.value)


def insert_schedule(connection: Connection, schedule: Schedule, *, most: int | None = None) -> None:
    """`most` is how many its project may have.

    Raises Conflict for a name that is taken, LimitReached, NotFound when the function or workflow is gone.
    """
    word, table, column, owner_id = _owner(schedule)
    owner = select(table.c.id).where(table.c.id == owner_id).with_for_update()
    if connection.execute(owner).first() is None:
        raise NotFound(f"{word.capitalize()} not found")
    count = select(func.count()).select_from(schedules).where(column == owner_id)
    if connection.execute(count).scalar_one() >= SCHEDULES_MAX:
        raise LimitReached(f"The {word} has {SCHEDULES_MAX} schedules, which is the most")
    if most is not None:
        check_room(connection, schedule.project_id, most, new=1)
    try:
        connection.execute(insert(schedules).values(_values(schedule)))
    except IntegrityError as exc:
        if is_orphan(exc):
            raise
        raise Conflict(f"name: the {word} has a schedule {schedule.name!r} already") from exc


def check_room(connection: Connection, project_id: ProjectId, most: int, *, new: int = 0) -> None:
    """Raises LimitReached when the project, with `new` ones that are to be written, has more schedules than `most`."""
    lock_project(connection, project_id)
    own = select(func.count()).select_from(schedules).where(schedules.c.project_id == project_id)
    if connection.execute(own).scalar_one() + new > most:
        raise LimitReached(f"The project has {most} schedules, which is its limit: delete one, or ask for more")


def _owner(schedule: Schedule) -> tuple[str, Table, ColumnElement[Any], str | None]:
    if schedule.workflow_id is not None:
        return "workflow", workflows, schedules.c.workflow_id, schedule.workflow_id
    return "function", functions, schedules.c.function_id, schedule.function_id


def get_schedule(connection: Connection, schedule_id: ScheduleId, *, for_update: bool = False) -> Schedule:
    """Raises NotFound."""
    query = select(schedules).where(schedules.c.id == schedule_id)
    row = connection.execute(query.with_for_update() if for_update else query).one_or_none()
    if row is None:
        raise NotFound("Schedule not found")
    return _schedule(row)


def list_schedules(
    connection: Connection,
    *,
    project_id: ProjectId | None = None,
    function_id: FunctionId | None = None,
    workflow_id: WorkflowId | None = None,
    after: ScheduleId | None = None,
    limit: int | None = None,
) -> list[Schedule]:
    """Oldest first."""
    query = select(schedules).order_by(schedules.c.id).limit(limit)
    if project_id is not None:
        query = query.where(schedules.c.project_id == project_id)
    if function_id is not None:
        query = query.where(schedules.c.function_id == function_id)
    if workflow_id is not None:
        query = query.where(schedules.c.workflow_id == workflow_id)
    if after is not None:
        query = query.where(schedules.c.id > after)
    return [_schedule(row) for row in connection.execute(query)]


def modify_schedule(
    connection: Connection, schedule_id: ScheduleId, modify: Callable[[Schedule], Schedule]
) -> Schedule:
    """Read, change and write one schedule. Raises NotFound, Conflict for a name that is taken."""
    after = modify(get_schedule(connection, schedule_id, for_update=True))
    write_schedule(connection, after)
    return after


def write_schedule(connection: Connection, schedule: Schedule) -> None:
    try:
        connection.execute(update(schedules).where(schedules.c.id == schedule.id).values(_values(schedule)))
    except IntegrityError as exc:
        raise Conflict(f"name: the {_owner(schedule)[0]} has a schedule {schedule.name!r} already") from exc


def sync_triggers(connection: Connection, function: Function) -> None:
    """Let the schedules of a function's own triggers be what they say, in the transaction that writes the function."""
    if function.triggers is not None:
        wanted = next((trigger for trigger in function.triggers if isinstance(trigger, CronTrigger)), None)
        cron, enabled = (None, False) if wanted is None else (wanted.cron, wanted.enabled)
        _sync(connection, function, TRIGGER_NAME, cron, enabled=enabled, now_ms=function.updated_at_ms)
    if function.door_settings is not None:
        sync_options(connection, function, function.updated_at_ms)


def sync_options(connection: Connection, function: Function, now_ms: int) -> None:
    """The same for its `door_schedule`, which runs while the project has a trigger of the type cron."""
    text = function.door_schedule
    try:
        cron = None if text is None else read_cron(text)
    except InvalidInput:
        # One that was stored before expressions were checked.
        cron = None
    enabled = cron is not None and _runs_options(connection, function.project_id)
    _sync(connection, function, OPTIONS_NAME, cron, enabled=enabled, now_ms=now_ms)


def switch_options(connection: Connection, project_id: ProjectId, now_ms: int) -> None:
    """Those of all functions of a project, whose triggers have changed. No function is read: there may be many."""
    enabled = _runs_options(connection, project_id)
    own = (
        (schedules.c.project_id == project_id)
        & (schedules.c.name == OPTIONS_NAME)
        & schedules.c.function_id.is_not(None)
    )
    for row in connection.execute(select(schedules).where(own, schedules.c.enabled != enabled)).all():
        after = replace(_schedule(row), enabled=enabled, paused_reason=None, updated_at_ms=now_ms)
        write_schedule(connection, started(after, now_ms))


def without_options(connection: Connection, project_id: ProjectId) -> list[FunctionId]:
    """Functions whose `door_schedule` was stored before there were schedules."""
    made = exists().where(schedules.c.function_id == functions.c.id, schedules.c.name == OPTIONS_NAME)
    said = functions.c.altair[("options", "schedule")].as_string().is_not(None)
    found = select(functions.c.id).where(functions.c.project_id == project_id, said, ~made)
    return [FunctionId(one) for one in connection.scalars(found)]


def _runs_options(connection: Connection, project_id: ProjectId) -> bool:
    switch = select(space_triggers.c.id).where(
        space_triggers.c.project_id == project_id, space_triggers.c.type == "cron"
    )
    return connection.execute(switch.limit(1)).first() is not None


def _sync(
    connection: Connection, function: Function, name: str, cron: Cron | None, *, enabled: bool, now_ms: int
) -> None:
    here = (schedules.c.function_id == function.id) & (schedules.c.name == name)
    row = connection.execute(select(schedules).where(here)).one_or_none()
    if cron is None:
        if row is not None:
            delete_schedule(connection, ScheduleId(row.id))
        return
    if row is None:
        fresh = Schedule(
            id=ScheduleId(new_id()),
            project_id=function.project_id,
            function_id=function.id,
            name=name,
            cron=cron,
            enabled=enabled,
            seen_ms=now_ms,
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
        )
        connection.execute(insert(schedules).values(_values(started(fresh, now_ms))))
        return
    before = _schedule(row)
    if (before.cron, before.enabled) != (cron, enabled):
        after = replace(before, cron=cron, enabled=enabled, paused_reason=None, updated_at_ms=now_ms)
        write_schedule(connection, started(after, now_ms))


def delete_schedule(connection: Connection, schedule_id: ScheduleId) -> None:
    if connection.execute(delete(schedules).where(schedules.c.id == schedule_id)).rowcount:
        leftovers.note(connection, [schedule_id])


def due_schedules(connection: Connection, now_ms: int, limit: int) -> list[ScheduleId]:
    """The first of each project, then the second of each, and so on: no project's many are before another's few."""
    place = func.row_number().over(partition_by=schedules.c.project_id, order_by=schedules.c.next_fire_ms)
    due = select(schedules.c.id, schedules.c.next_fire_ms, place.label("place"))
    found = due.where(schedules.c.next_fire_ms <= now_ms).subquery()
    query = select(found.c.id).order_by(found.c.place, found.c.next_fire_ms).limit(limit)
    return [ScheduleId(one) for one in connection.execute(query).scalars()]


def next_fire_ms(connection: Connection) -> int | None:
    return connection.execute(select(func.min(schedules.c.next_fire_ms))).scalar()


def insert_firing(connection: Connection, firing: Firing) -> None:
    connection.execute(
        insert(firings).values(
            id=firing.id,
            schedule_id=firing.schedule_id,
            key=firing.key,
            due_ms=firing.due_ms,
            fired_at_ms=firing.fired_at_ms,
            status=firing.status.value,
            counted=firing.counted,
            attempt=firing.attempt,
            invocation_id=firing.run_id,
        )
    )


def has_firing(connection: Connection, key: str) -> bool:
    return connection.execute(select(firings.c.id).where(firings.c.key == key)).first() is not None


def get_firing(connection: Connection, firing_id: JobId) -> Firing | None:
    row = connection.execute(select(firings).where(firings.c.id == firing_id)).one_or_none()
    return None if row is None else _firing(row)


def change_firing(connection: Connection, firing_id: JobId, **values: Any) -> None:
    connection.execute(update(firings).where(firings.c.id == firing_id).values(values))


def open_firings(connection: Connection, schedule_id: ScheduleId) -> list[JobId]:
    """Those that wait or run."""
    query = select(firings.c.id).where(firings.c.schedule_id == schedule_id, firings.c.status.in_(_OPEN))
    return [JobId(found) for found in connection.execute(query).scalars()]


def has_open_run(connection: Connection, schedule_id: ScheduleId) -> bool:
    """Whether a run of a workflow that the schedule began goes on; its id is that of the firing."""
    running = (firings.c.schedule_id == schedule_id) & (firings.c.status == FiringStatus.RUNNING.value)
    query = select(firings.c.id).join_from(firings, executions, executions.c.id == firings.c.id).where(running)
    return connection.execute(query.limit(1)).first() is not None


def end_lost_firings(connection: Connection, schedule_id: ScheduleId) -> None:
    """Those whose run of a workflow is not there: nothing else would end them."""
    run = select(executions.c.id).where(executions.c.id == firings.c.id).exists()
    lost = (firings.c.schedule_id == schedule_id) & (firings.c.status == FiringStatus.RUNNING.value) & ~run
    connection.execute(update(firings).where(lost).values(status=FiringStatus.FAILED.value))


def list_firings(
    connection: Connection, schedule_id: ScheduleId, *, before: JobId | None = None, limit: int
) -> list[Firing]:
    """Newest first."""
    query = select(firings).where(firings.c.schedule_id == schedule_id).order_by(firings.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(firings.c.id < before)
    return [_firing(row) for row in connection.execute(query)]


def prune_firings(connection: Connection, schedule_id: ScheduleId) -> None:
    """Drop the oldest of those that have ended."""
    ids = select(firings.c.id).where(firings.c.schedule_id == schedule_id)
    oldest = connection.execute(ids.order_by(firings.c.id.desc()).offset(FIRINGS_KEPT).limit(1)).scalar()
    if oldest is not None:
        here = (firings.c.schedule_id == schedule_id) & (firings.c.id <= oldest) & firings.c.status.not_in(_OPEN)
        connection.execute(delete(firings).where(here))


def delete_old_firings(connection: Connection, before_ms: int, *, limit: int) -> int:
    """Delete up to `limit` firings from before that time which have ended; how many."""
    old = select(firings.c.id).where(firings.c.id < first_of_ms(before_ms), firings.c.status.not_in(_OPEN))
    chosen = old.order_by(firings.c.id).limit(limit)
    return connection.execute(delete(firings).where(firings.c.id.in_(chosen))).rowcount


def function_name(connection: Connection, function_id: FunctionId) -> str:
    return connection.execute(select(functions.c.name).where(functions.c.id == function_id)).scalar() or ""


def of_functions(connection: Connection, ids: Sequence[FunctionId]) -> dict[FunctionId, list[Schedule]]:
    found: dict[FunctionId, list[Schedule]] = {}
    for row in connection.execute(select(schedules).where(schedules.c.function_id.in_(ids))):
        found.setdefault(FunctionId(row.function_id), []).append(_schedule(row))
    return found


def _values(schedule: Schedule) -> dict[str, Any]:
    return {
        "id": schedule.id,
        "project_id": schedule.project_id,
        "function_id": schedule.function_id,
        "workflow_id": schedule.workflow_id,
        "name": schedule.name,
        "cron": schedule.cron.text,
        "dialect": schedule.cron.dialect.value,
        "timezone": schedule.cron.zone,
        "payload": schedule.payload,
        "policies": schedule.policies.to_json(),
        "enabled": schedule.enabled,
        "paused_reason": schedule.paused_reason,
        "seen_ms": schedule.seen_ms,
        "next_due_ms": schedule.next_due_ms,
        "next_fire_ms": schedule.next_fire_ms,
        "last_due_ms": schedule.last_due_ms,
        "last_status": None if schedule.last_status is None else schedule.last_status.value,
        "missed_total": schedule.missed_total,
        "failures": schedule.failures,
        "created_at_ms": schedule.created_at_ms,
        "updated_at_ms": schedule.updated_at_ms,
    }


def _schedule(row: Row[Any]) -> Schedule:
    return Schedule(
        id=ScheduleId(row.id),
        project_id=ProjectId(row.project_id),
        function_id=None if row.function_id is None else FunctionId(row.function_id),
        workflow_id=None if row.workflow_id is None else WorkflowId(row.workflow_id),
        name=row.name,
        cron=read_cron(row.cron, zone=row.timezone, dialect=Dialect(row.dialect)),
        payload=row.payload,
        policies=Policies().changed(row.policies),
        enabled=row.enabled,
        paused_reason=row.paused_reason,
        seen_ms=row.seen_ms,
        next_due_ms=row.next_due_ms,
        last_due_ms=row.last_due_ms,
        last_status=None if row.last_status is None else FiringStatus(row.last_status),
        missed_total=row.missed_total,
        failures=row.failures,
        created_at_ms=row.created_at_ms,
        updated_at_ms=row.updated_at_ms,
    )


def _firing(row: Row[Any]) -> Firing:
    return Firing(
        id=JobId(row.id),
        schedule_id=ScheduleId(row.schedule_id),
        due_ms=row.due_ms,
        fired_at_ms=row.fired_at_ms,
        status=FiringStatus(row.status),
        counted=row.counted,
        attempt=row.attempt,
        run_id=row.invocation_id,
    )
