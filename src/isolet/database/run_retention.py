"""Which runs of workflows go, and their end. Their steps and events go with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, delete, exists, func, select, text

from isolet.database.steps import first_step
from isolet.database.tables.executions import executions, flow_graphs
from isolet.ids import ExecutionId, ProjectId

_OPEN = text("ended_at_ms IS NULL")
_SIZED = select(executions.c.id, executions.c.size_bytes)


def ended_before(connection: Connection, before_ms: int, limit: int) -> list[ExecutionId]:
    """As many of them as one transaction deletes, at most `limit`; so do the others here."""
    return _first(connection, _SIZED.where(executions.c.ended_at_ms < before_ms).limit(limit))


def sizes(connection: Connection) -> list[tuple[ProjectId, int]]:
    """What the runs of each project take, in bytes."""
    query = select(executions.c.project_id, func.sum(executions.c.size_bytes)).group_by(executions.c.project_id)
    return [(ProjectId(project_id), int(size)) for project_id, size in connection.execute(query)]


def open_sizes(connection: Connection) -> list[tuple[ProjectId, int]]:
    """What the runs of each project take that have not ended, in bytes. It reads one index."""
    query = select(executions.c.project_id, func.sum(executions.c.size_bytes)).where(_OPEN)
    rows = connection.execute(query.group_by(executions.c.project_id))
    return [(ProjectId(project_id), int(size)) for project_id, size in rows]


def oldest_ended(connection: Connection, project_id: ProjectId, limit: int) -> list[tuple[ExecutionId, int]]:
    """With what they take, the ones that began first first."""
    query = (
        select(executions.c.id, executions.c.size_bytes)
        .where(executions.c.project_id == project_id, executions.c.ended_at_ms.is_not(None))
        .order_by(executions.c.id)
        .limit(limit)
    )
    rows = connection.execute(query).all()
    step = len(first_step((row.id, row.size_bytes) for row in rows))
    return [(ExecutionId(found), size) for found, size in rows[:step]]


def of_project(connection: Connection, project_id: ProjectId, limit: int) -> list[ExecutionId]:
    return _first(connection, _SIZED.where(executions.c.project_id == project_id).limit(limit))


def _first(connection: Connection, found: Select[Any]) -> list[ExecutionId]:
    with connection.execute(found) as rows:
        return first_step((ExecutionId(run_id), size) for run_id, size in rows)


def drop_runs(connection: Connection, ids: Sequence[ExecutionId]) -> None:
    connection.execute(delete(executions).where(executions.c.id.in_(ids)))


def drop_graphs(connection: Connection, used_before_ms: int, *, limit: int, ids: Sequence[str] | None = None) -> int:
    """Some of those that no run began with, of all or of these; how many, 0 for none."""
    used = exists().where(executions.c.graph_id == flow_graphs.c.id)
    unused = select(flow_graphs.c.id).where(flow_graphs.c.used_at_ms < used_before_ms, ~used).limit(limit)
    if ids is not None:
        unused = unused.where(flow_graphs.c.id.in_(ids))
    return connection.execute(delete(flow_graphs).where(flow_graphs.c.id.in_(unused))).rowcount


def crowded(connection: Connection, most: int) -> list[tuple[ProjectId, int]]:
    """Projects whose runs began with more than so many graphs, and how many."""
    count = func.count()
    query = select(flow_graphs.c.project_id, count).group_by(flow_graphs.c.project_id).having(count > most)
    return [(ProjectId(project_id), found) for project_id, found in connection.execute(query)]


def oldest_graphs(connection: Connection, project_id: ProjectId, used_before_ms: int, limit: int) -> list[str]:
    """Those that no open run began with, the one that was used least lately first."""
    open_run = exists().where(executions.c.graph_id == flow_graphs.c.id, executions.c.ended_at_ms.is_(None))
    query = select(flow_graphs.c.id).where(
        flow_graphs.c.project_id == project_id, flow_graphs.c.used_at_ms < used_before_ms, ~open_run
    )
    return list(connection.scalars(query.order_by(flow_graphs.c.used_at_ms).limit(limit)))


def ended_with_graphs(connection: Connection, graph_ids: Sequence[str], limit: int) -> list[ExecutionId]:
    ended = executions.c.ended_at_ms.is_not(None)
    return _first(connection, _SIZED.where(executions.c.graph_id.in_(graph_ids), ended).limit(limit))


def drop_project_graphs(connection: Connection, project_id: ProjectId, limit: int) -> int:
    """How many, 0 for none."""
    some = select(flow_graphs.c.id).where(flow_graphs.c.project_id == project_id).limit(limit)
    return connection.execute(delete(flow_graphs).where(flow_graphs.c.id.in_(some))).rowcount
