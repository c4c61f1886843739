"""How runs move on: what became of a try of a step, its events, the variables and what follows, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection, select, update

from isolet.database import executions as stored
from isolet.database.conclusions import JoinRefused
from isolet.database.executions import Draft
from isolet.database.firing_ends import SCHEDULE, run_ended
from isolet.database.plain_sql import execute, update_row
from isolet.database.tables.executions import execution_steps, executions
from isolet.domain.flows.executions import UNDO_MAX_BYTES, Execution, NewEvent, Pause, Step, event_payload
from isolet.domain.flows.flow_jobs import parent_job
from isolet.domain.flows.nodes import NodeType
from isolet.domain.flows.run_variables import dump
from isolet.domain.flows.runs import RunStatus, StepStatus
from isolet.domain.jobs import Job
from isolet.errors import NotFound
from isolet.ids import ExecutionId, JobId, StepId, new_id

# Nodes that tell somebody what the run did before.
_SHOWN_EVENTS = (NodeType.FUNCTION, NodeType.DECIDE, NodeType.AGENT)
_COUNTERS = ("steps", "events", "events_bytes", "undo_bytes")
NOT_ITS_TURN = "the run went on without this step"


class Loaded(Struct, frozen=True, kw_only=True):
    """A run as a step begins. `state` and `undo` are JSON: they may be large. `undo` takes back what was changed during
    the step already; None when it is not kept.
    """

    execution: Execution
    state: str
    step: Step
    undo: str | None
    events: Sequence[Mapping[str, Any]]
    graph: str | None


class Advance(Struct, frozen=True, kw_only=True):
    """What is written of a run after a try. `run` and `step` are columns; `state` and `undo` are JSON, None to keep.

    `job_id` is the job that made the try: nothing is written unless it is the run's own still. `next_step` begins.
    `child` is a run that begins; `parent_job` goes on with the run that waits for this one, when this one has ended.
    """

    execution_id: ExecutionId
    job_id: JobId
    run: Mapping[str, Any]
    step_id: StepId
    step: Mapping[str, Any]
    events: Sequence[NewEvent] = ()
    state: str | None = None
    undo: str | None = None
    next_step: Step | None = None
    child: Draft | None = None
    parent_id: ExecutionId | None = None
    parent_job: Job | None = None


def load(connection: Connection, execution_id: ExecutionId, *, events: int, known: frozenset[str]) -> Loaded:
    """All that a run's newest step needs. `known` are ids of graphs that need not be read. Raises NotFound."""
    execution, state, step, undo = stored.get_with_step(connection, execution_id)
    return Loaded(
        execution=execution,
        state=state,
        step=step,
        undo=undo,
        events=stored.newest_events(connection, execution_id, events) if execution.node_type in _SHOWN_EVENTS else (),
        graph=None if execution.graph_id in known else stored.get_graph(connection, execution.graph_id),
    )


def advance(connection: Connection, change: Advance) -> list[Job]:
    """Write it; the jobs that follow besides the next step's. Raises JoinRefused when it is not the run's own job."""
    before = owned(connection, change.execution_id, change.job_id)
    step, values = dict(change.step), dict(change.run)
    if change.undo is not None:
        values["undo_bytes"] = _keep_undo(connection, change, before.undo_bytes, step)
    update_row(connection, "execution_steps", change.step_id, step)
    if change.next_step is not None:
        stored.insert_step(connection, change.execution_id, change.next_step)
    if change.state is not None:
        values["state"] = change.state
    if change.events:
        values["last_event_at_ms"] = change.events[-1].at_ms
    write_run(connection, before, values, change.events)
    return _follow(connection, change)


def delete_job(connection: Connection, job_id: JobId) -> None:
    """A job whose step tells all that it does."""
    execute(connection, "DELETE FROM jobs WHERE id = ?", [job_id])


def owned(connection: Connection, execution_id: ExecutionId, job_id: JobId) -> Execution:
    """The run, locked, if this is its job still. Raises JoinRefused."""
    try:
        execution = stored.get_execution(connection, execution_id, for_update=True)
    except NotFound as exc:
        raise JoinRefused(NOT_ITS_TURN) from exc
    if execution.job_id != job_id:
        raise JoinRefused(NOT_ITS_TURN)
    return execution


def _size_after(before: Execution, values: Mapping[str, Any]) -> int:
    def size(state_bytes: int, told: Mapping[str, Any]) -> int:
        counters = {name: told.get(name, getattr(before, name)) for name in _COUNTERS}
        return stored.size_of(state_bytes, **counters)

    state = values.get("state")
    return size(before.size_bytes - size(0, {}) if state is None else len(state), values)


def _keep_undo(connection: Connection, change: Advance, undo_bytes: int, step: dict[str, Any]) -> int:
    """The bytes of all undos after it. Beyond their bound the earlier ones are dropped."""
    size = len(change.undo or "")
    if undo_bytes + size > UNDO_MAX_BYTES:
        own = execution_steps.c.execution_id == change.execution_id
        connection.execute(update(execution_steps).where(own).values(undo=None))
        undo_bytes = 0
    step["undo"] = change.undo if size <= UNDO_MAX_BYTES else None
    return undo_bytes + min(size, UNDO_MAX_BYTES)


def _follow(connection: Connection, change: Advance) -> list[Job]:
    jobs: list[Job] = []
    if change.child is not None:
        stored.insert_draft(connection, change.child)
        if change.child.job is not None:
            jobs.append(change.child.job)
    if change.parent_job is not None and change.parent_id is not None:
        jobs += wake_parent(connection, change.parent_id, change.execution_id, change.parent_job)
    return jobs


def wake_parent(connection: Connection, parent_id: ExecutionId, child_id: ExecutionId, job: Job) -> list[Job]:
    """Let the run that waits for this one go on, if there is one still."""
    table = executions.c
    waits = select(table.id).where(
        table.id == parent_id, table.child_id == child_id, table.status == RunStatus.WAITING.value
    )
    if connection.execute(waits.with_for_update()).first() is None:
        return []
    values = {"status": RunStatus.RUNNING.value, "waiting_reason": None, "job_id": job.id}
    connection.execute(update(executions).where(table.id == parent_id).values(values))
    return [job]


def park(connection: Connection, execution_id: ExecutionId, job_id: JobId, copy: Job, due_ms: int) -> Job:
    """A job in the place of one of a paused run, due when that is over. Raises JoinRefused."""
    execution = owned(connection, execution_id, job_id)
    values: dict[str, Any] = {"job_id": copy.id}
    if execution.pause is not None:
        values["pause"] = Pause.PARKED.value
        copy = replace(copy, due_at_ms=due_ms)
    connection.execute(update(executions).where(executions.c.id == execution_id).values(values))
    return copy


def give_up(
    connection: Connection, execution_id: ExecutionId, job_id: JobId, *, error: str, code: str, now_ms: int
) -> list[Job]:
    """The run fails for a reason that is not its own, if the job is its own; the job of the run that waits for it."""
    try:
        before = owned(connection, execution_id, job_id)
    except JoinRefused:
        return []
    told = {"message": error, "code": code, "node_id": before.node_id, "step_id": before.step_id}
    event = NewEvent(
        id=new_id(),
        type="execution_failed",
        at_ms=now_ms,
        payload=event_payload(told),
        step_id=before.step_id,
        node_id=before.node_id,
        node_type=before.node_type,
    )
    return end(connection, before, RunStatus.FAILED, [event], why=error, error=told, now_ms=now_ms)


def end(
    connection: Connection,
    before: Execution,
    status: RunStatus,
    events: Sequence[NewEvent],
    *,
    why: str,
    error: Mapping[str, Any] | None,
    now_ms: int,
) -> list[Job]:
    """A run, which is locked, ends at the step where it is; the job of the run that waits for it."""
    step = {"status": StepStatus.FAILED.value, "ended_at_ms": now_ms, "error": why}
    table = execution_steps.c
    open_step = (table.id == before.step_id, table.ended_at_ms.is_(None))
    connection.execute(update(execution_steps).where(*open_step).values(step))
    values: dict[str, Any] = {
        "status": status.value,
        "waiting_reason": None,
        "pause": None,
        "job_id": None,
        "child_id": None,
        "ended_at_ms": now_ms,
        "last_event_at_ms": now_ms,
        "error": None if error is None else dump(error),
    }
    write_run(connection, before, values, events)
    if before.parent_id is None:
        return []
    state = stored.get_state(connection, before.id)
    if not state.callers:
        return []
    job = parent_job(before.project_id, state.callers, before.parent_id, before.id, now_ms)
    return wake_parent(connection, before.parent_id, before.id, job)


def write_run(connection: Connection, before: Execution, values: Mapping[str, Any], events: Sequence[NewEvent]) -> None:
    """Change columns of a run that is locked, and write events of it."""
    counters = {"events": before.events, "events_bytes": before.events_bytes}
    after = {**values, **stored.insert_events(connection, before.id, counters, events)}
    after["size_bytes"] = _size_after(before, after)
    update_row(connection, "executions", before.id, after)
    if before.trigger == SCHEDULE and (ended_at_ms := values.get("ended_at_ms")) is not None:
        run_ended(connection, before.id, failed=values["status"] == RunStatus.FAILED.value, at_ms=ended_at_ms)
