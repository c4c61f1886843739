"""Runs of workflows in the database: how they begin, and who reads them. `run_steps` has how they move on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Row, func, select, text

from isolet.database.plain_sql import LOCK, execute, insert_rows
from isolet.database.tables.executions import execution_events, execution_steps, executions, flow_graphs
from isolet.database.workflows import count_execution
from isolet.domain.flows.executions import (
    EVENTS_MAX,
    EVENTS_MAX_BYTES,
    GRAPHS_MAX,
    ROW_BYTES,
    Event,
    Execution,
    NewEvent,
    Pause,
    State,
    Step,
    dump_state,
    read_state,
)
from isolet.domain.flows.nodes import NodeType
from isolet.domain.flows.runs import RunStatus, StepStatus
from isolet.domain.jobs import Job
from isolet.errors import LimitReached, NotFound
from isolet.ids import ExecutionId, ProjectId, StepId, WorkflowId

LIGHT = tuple(column for column in executions.columns if column.name != "state")
_STEP = tuple(column for column in execution_steps.columns if column.name not in ("undo", "execution_id"))
_LIGHT_NAMES = tuple(column.name for column in LIGHT)
_STEP_NAMES = tuple(column.name for column in _STEP)
_GET = f"SELECT {', '.join(_LIGHT_NAMES)} FROM executions WHERE id = ?"  # noqa: S608
_GET_LOCKED = _GET + LOCK
_GET_WITH_STEP = (
    f"SELECT {', '.join(f'executions.{name}' for name in (*_LIGHT_NAMES, 'state'))}, "  # noqa: S608
    f"{', '.join(f'execution_steps.{name} AS step_{name}' for name in (*_STEP_NAMES, 'undo'))} "
    "FROM executions JOIN execution_steps ON execution_steps.id = executions.step_id WHERE executions.id = ?"
)
_NEWEST_EVENTS = "SELECT type, payload FROM execution_events WHERE execution_id = ? ORDER BY number DESC LIMIT ?"
_ROWS_A_STATEMENT = 50
_OPEN_RUNS = (
    "SELECT count(*), COALESCE(sum(size_bytes), 0) FROM executions WHERE ended_at_ms IS NULL AND project_id = ?"
)
_TRUNCATED = '{"truncated":true}'


class Draft(Struct, frozen=True, kw_only=True):
    """A run that is to begin. `graph` is the text that `graph_id` names. `job` runs the step that is `running`."""

    execution: Execution
    state: State
    graph: str
    steps: Sequence[Step]
    events: Sequence[NewEvent]
    job: Job | None


class Filter(Struct, frozen=True, kw_only=True):
    """Which runs a list has. Times are milliseconds since 1970, both ends included."""

    project_id: ProjectId | None = None
    workflow_id: str | None = None
    status: RunStatus | None = None
    waiting_reason: str | None = None
    conversation_id: str | None = None
    tracking_id: str | None = None
    created_from_ms: int | None = None
    created_to_ms: int | None = None


def insert_draft(connection: Connection, draft: Draft) -> None:
    """Write a run that begins; its job is the caller's to write. Raises LimitReached before it writes anything."""
    execution = draft.execution
    keep_graph(connection, execution.graph_id, execution.project_id, draft.graph, execution.started_at_ms)
    state = dump_state(draft.state)
    none = {"events": 0, "events_bytes": 0}
    counters, _ = _kept_events(none, draft.events)
    size = size_of(len(state), steps=len(draft.steps), undo_bytes=0, **counters)
    values = {**_values(execution), **counters, "undo_bytes": 0, "state": state, "size_bytes": size}
    insert_rows(connection, "executions", [values])
    for step in draft.steps:
        insert_step(connection, execution.id, step)
    insert_events(connection, execution.id, none, draft.events)
    count_execution(connection, WorkflowId(execution.workflow_id), execution.started_at_ms)


def size_of(state_bytes: int, *, steps: int, events: int, events_bytes: int, undo_bytes: int) -> int:
    """About what a run takes in the database."""
    return state_bytes + events_bytes + undo_bytes + ROW_BYTES * (1 + steps + events)


def keep_graph(connection: Connection, graph_id: str, project_id: ProjectId, graph: str, now_ms: int) -> None:
    """Once for all runs; what is used now is not dropped meanwhile. Raises LimitReached for one that is too many."""
    count = select(func.count()).select_from(flow_graphs).where(flow_graphs.c.project_id == project_id)
    if (connection.scalar(count) or 0) >= GRAPHS_MAX:
        known = select(flow_graphs.c.id).where(flow_graphs.c.id == graph_id)
        if connection.execute(known).first() is None:
            raise LimitReached(
                f"The runs of this project began with {GRAPHS_MAX} different graphs, as many as they may"
            )
    connection.execute(
        text(
            "INSERT INTO flow_graphs (id, project_id, graph, used_at_ms) VALUES (:id, :project, :graph, :now)"
            " ON CONFLICT (id) DO UPDATE SET used_at_ms = excluded.used_at_ms"
        ),
        {"id": graph_id, "project": project_id, "graph": graph, "now": now_ms},
    )


def insert_step(connection: Connection, execution_id: ExecutionId, step: Step) -> None:
    row = {
        "id": step.id,
        "execution_id": execution_id,
        "number": step.number,
        "node_id": step.node_id,
        "node_type": step.node_type.value,
        "visit": step.visit,
        "status": step.status.value,
        "attempts": step.attempts,
        "started_at_ms": step.started_at_ms,
        "ended_at_ms": step.ended_at_ms,
        "invocation_id": step.invocation_id,
        "error": step.error,
        "edge_label": step.edge_label,
        "superseded": step.superseded,
        "undo": "{}",
    }
    insert_rows(connection, "execution_steps", [row])


def insert_events(
    connection: Connection, execution_id: ExecutionId, before: Mapping[str, int], events: Sequence[NewEvent]
) -> dict[str, int]:
    """The counters of the run after it, `events` and `events_bytes`."""
    after, kept = _kept_events(before, events)
    rows = [_event_row(execution_id, number, event, payload) for number, event, payload in kept]
    for first in range(0, len(rows), _ROWS_A_STATEMENT):
        insert_rows(connection, "execution_events", rows[first : first + _ROWS_A_STATEMENT])
    return after


def _kept_events(
    before: Mapping[str, int], events: Sequence[NewEvent]
) -> tuple[dict[str, int], list[tuple[int, NewEvent, str]]]:
    """Beyond the bounds of a run payloads are dropped, then events; but not those that say how the run ends."""
    count, size = before["events"], before["events_bytes"]
    kept = []
    for event in events:
        if count >= EVENTS_MAX and not event.type.startswith("execution_"):
            continue
        payload = event.payload if size + len(event.payload) <= EVENTS_MAX_BYTES else _TRUNCATED
        count, size = count + 1, size + len(payload)
        kept.append((count, event, payload))
    return {"events": count, "events_bytes": size}, kept


def _event_row(execution_id: ExecutionId, number: int, event: NewEvent, payload: str) -> dict[str, Any]:
    return {
        "id": event.id,
        "execution_id": execution_id,
        "number": number,
        "type": event.type,
        "created_at_ms": event.at_ms,
        "direction": event.direction,
        "edge_label": event.edge_label,
        "step_id": event.step_id,
        "node_id": event.node_id,
        "node_type": None if event.node_type is None else event.node_type.value,
        "payload": payload,
    }


# Reads.


def get_execution(connection: Connection, execution_id: str, *, for_update: bool = False) -> Execution:
    """Raises NotFound."""
    row = execute(connection, _GET_LOCKED if for_update else _GET, [execution_id]).one_or_none()
    if row is None:
        raise NotFound("Execution not found")
    return read_execution(row._mapping)


def get_with_step(connection: Connection, execution_id: str) -> tuple[Execution, str, Step, str | None]:
    """A run with its state as text, its newest step, and how that one's changes of variables are taken back.

    Raises NotFound.
    """
    row = execute(connection, _GET_WITH_STEP, [execution_id]).one_or_none()
    if row is None:
        raise NotFound("Execution not found")
    told = row._mapping
    step = {name: told[f"step_{name}"] for name in _STEP_NAMES}
    return read_execution(told), told["state"], read_step(step), told["step_undo"]


def get_state(connection: Connection, execution_id: str) -> State:
    """Raises NotFound."""
    found = connection.execute(select(executions.c.state).where(executions.c.id == execution_id)).scalar()
    if found is None:
        raise NotFound("Execution not found")
    return read_state(found)


def get_graph(connection: Connection, graph_id: str) -> str:
    """The graph that runs began with. Raises NotFound."""
    found = connection.execute(select(flow_graphs.c.graph).where(flow_graphs.c.id == graph_id)).scalar()
    if found is None:
        raise NotFound("The graph of this execution is not kept")
    return str(found)


def get_step(connection: Connection, step_id: StepId) -> tuple[Step, dict[str, Any] | None]:
    """A step, and how its changes of variables are taken back. Raises NotFound."""
    row = connection.execute(select(execution_steps).where(execution_steps.c.id == step_id)).one_or_none()
    if row is None:
        raise NotFound("Step not found")
    return read_step(row._mapping), None if row.undo is None else read_undo(row.undo)


def read_undo(undo: str) -> dict[str, Any]:
    return dict(json.loads(undo))


def list_steps(connection: Connection, execution_id: str) -> list[Step]:
    """In the order in which they were made."""
    query = select(*_STEP).where(execution_steps.c.execution_id == execution_id).order_by(execution_steps.c.number)
    return [read_step(row._mapping) for row in connection.execute(query)]


def newest_events(connection: Connection, execution_id: str, limit: int) -> Sequence[Mapping[str, Any]]:
    """Types and payloads of the newest events, oldest first."""
    rows = execute(connection, _NEWEST_EVENTS, [execution_id, limit]).all()
    return [{"event_type": name, "payload": json.loads(told)} for name, told in reversed(rows)]


def count_events(connection: Connection, execution_id: str, event_type: str, *, most: int) -> int:
    """How many events of a type a run has, up to `most`."""
    here = (execution_events.c.execution_id == execution_id) & (execution_events.c.type == event_type)
    return len(connection.execute(select(execution_events.c.id).where(here).limit(most)).all())


def get_event(connection: Connection, event_id: str) -> Event:
    """Raises NotFound."""
    row = connection.execute(select(execution_events).where(execution_events.c.id == event_id)).one_or_none()
    if row is None:
        raise NotFound("Event not found")
    return _event(row)


def list_events(
    connection: Connection,
    execution_id: str,
    *,
    event_type: str | None = None,
    after: int | None = None,
    before: int | None = None,
    newest_first: bool = False,
    limit: int,
) -> list[Event]:
    """Of one run, by number: those with a larger number than `after`, and a smaller one than `before`."""
    number = execution_events.c.number
    query = select(execution_events).where(execution_events.c.execution_id == execution_id)
    if event_type is not None:
        query = query.where(execution_events.c.type == event_type)
    if after is not None:
        query = query.where(number > after)
    if before is not None:
        query = query.where(number < before)
    query = query.order_by(number.desc() if newest_first else number).limit(limit)
    return [_event(row) for row in connection.execute(query)]


def list_executions(
    connection: Connection, wanted: Filter, *, before: str | None = None, after: str | None = None, limit: int
) -> list[Execution]:
    """Newest first: those older than the run `before`, or the ones next newer than the run `after`."""
    query = select(*LIGHT).where(*_conditions(wanted)).limit(limit)
    if before is not None:
        query = query.where(executions.c.id < before)
    if after is None:
        rows: Iterable[Row[Any]] = connection.execute(query.order_by(executions.c.id.desc()))
    else:
        query = query.where(executions.c.id > after).order_by(executions.c.id)
        rows = list(connection.execute(query))[::-1]
    return [read_execution(row._mapping) for row in rows]


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    table = executions.c
    # An expression, which no index serves: SQLite would take that of a project's status before a workflow's own.
    of_project = table.project_id if wanted.workflow_id is None else table.project_id.concat("")
    equal = {
        of_project: wanted.project_id,
        table.workflow_id: wanted.workflow_id,
        table.status: None if wanted.status is None else wanted.status.value,
        table.waiting_reason: wanted.waiting_reason,
        table.conversation_id: wanted.conversation_id,
        table.tracking_id: wanted.tracking_id,
    }
    found = [column == value for column, value in equal.items() if value is not None]
    if wanted.created_from_ms is not None:
        found.append(table.started_at_ms >= wanted.created_from_ms)
    if wanted.created_to_ms is not None:
        found.append(table.started_at_ms <= wanted.created_to_ms)
    return found


def open_runs(connection: Connection, project_id: ProjectId) -> tuple[int, int]:
    """How many runs of a project have not ended, and the bytes that they hold. It reads one index."""
    found: Sequence[Any] = execute(connection, _OPEN_RUNS, [project_id]).one()
    return int(found[0]), int(found[1])


def read_execution(row: Mapping[Any, Any]) -> Execution:
    values = {name: row[name] for name in _LIGHT_NAMES}
    values["status"] = RunStatus(values["status"])
    for name, kind in (("pause", Pause), ("node_type", NodeType), ("error", json.loads)):
        if values[name] is not None:
            values[name] = kind(values[name])
    return Execution(**values)


def _values(execution: Execution) -> dict[str, Any]:
    return {
        "id": execution.id,
        "project_id": execution.project_id,
        "workflow_id": execution.workflow_id,
        "workflow_name": execution.workflow_name,
        "status": execution.status.value,
        "trigger": execution.trigger,
        "tracking_id": execution.tracking_id,
        "graph_id": execution.graph_id,
        "started_at_ms": execution.started_at_ms,
        "last_event_at_ms": execution.last_event_at_ms,
        "ended_at_ms": execution.ended_at_ms,
        "waiting_reason": execution.waiting_reason,
        "pause": None if execution.pause is None else execution.pause.value,
        "conversation_id": execution.conversation_id,
        "parent_id": execution.parent_id,
        "child_id": execution.child_id,
        "depth": execution.depth,
        "job_id": execution.job_id,
        "step_id": execution.step_id,
        "node_id": execution.node_id,
        "node_type": None if execution.node_type is None else execution.node_type.value,
        "steps": execution.steps,
        "error": None if execution.error is None else json.dumps(execution.error),
    }


def read_step(row: Mapping[Any, Any]) -> Step:
    values = {name: row[name] for name in _STEP_NAMES}
    values |= {
        "node_type": NodeType(values["node_type"]),
        "status": StepStatus(values["status"]),
        "superseded": bool(values["superseded"]),
    }
    return Step(**values)


def _event(row: Row[Any]) -> Event:
    return Event(
        id=row.id,
        execution_id=ExecutionId(row.execution_id),
        number=row.number,
        type=row.type,
        created_at_ms=row.created_at_ms,
        payload=json.loads(row.payload),
        direction=row.direction,
        edge_label=row.edge_label,
        step_id=None if row.step_id is None else StepId(row.step_id),
        node_id=row.node_id,
        node_type=None if row.node_type is None else NodeType(row.node_type),
    )
