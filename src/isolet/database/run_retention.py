"""Which runs of workflows go, and their end. Their steps and events go with them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, exists, func, select, text

from isolet.database.tables.executions import executions, flow_graphs
from isolet.ids import ExecutionId, ProjectId

_OPEN = text("ended_at_ms IS NULL")


def ended_before(connection: Connection, before_ms: int, limit: int) -> list[ExecutionId]:
    query = select(executions.c.id).where(executions.c.ended_at_ms < before_ms).limit(limit)
    return [ExecutionId(found) for found in connection.execute(query).scalars()]


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
    return [(ExecutionId(found), size) for found, size in connection.execute(query)]


def of_project(connection: Connection, project_id: ProjectId, limit: int) -> list[ExecutionId]:
    query = select(executions.c.id).where(executions.c.project_id == project_id).limit(limit)
    return [ExecutionId(found) for found in connection.execute(query).scalars()]


def drop_runs(connection: Connection, ids: Sequence[ExecutionId]) -> None:
    connection.execute(delete(executions).where(executions.c.id.in_(ids)))


def drop_graphs(connection: Connection, used_before_ms: int) -> None:
    """Those that no run began with."""
    used = exists().where(executions.c.graph_id == flow_graphs.c.id)
    connection.execute(delete(flow_graphs).where(flow_graphs.c.used_at_ms < used_before_ms, ~used))


def drop_project_graphs(connection: Connection, project_id: ProjectId) -> None:
    connection.execute(delete(flow_graphs).where(flow_graphs.c.project_id == project_id))
