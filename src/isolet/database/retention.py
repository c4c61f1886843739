"""Deletes old records of calls in small steps, each its own transaction, oldest first."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, delete, func, select

from isolet.database.steps import first_step
from isolet.database.tables.invocations import invocations
from isolet.database.tables.metrics import rollups
from isolet.ids import InvocationId, ProjectId, first_of_ms

_SIZED = select(invocations.c.id, invocations.c.size_bytes)


def recorded_projects(connection: Connection) -> list[ProjectId]:
    """Every project that calls were counted of, those that are gone included."""
    query = select(rollups.c.project_id).distinct().where(rollups.c.step == "month")
    return [ProjectId(found) for found in connection.execute(query).scalars()]


def oldest_to_keep(connection: Connection, project_id: ProjectId, *, rows: int) -> InvocationId | None:
    """The id of the oldest record that a project keeps when it keeps `rows`; None when it has fewer."""
    query = (
        select(invocations.c.id)
        .where(invocations.c.project_id == project_id)
        .order_by(invocations.c.id.desc())
        .offset(rows - 1)
        .limit(1)
    )
    found = connection.execute(query).scalar_one_or_none()
    return None if found is None else InvocationId(found)


def newest_over(connection: Connection, project_id: ProjectId, *, max_bytes: int) -> InvocationId | None:
    """The id of the newest record that a project cannot keep within so many bytes; None when all of them fit.

    An index has all of it. What is not too much is not gone through one by one.
    """
    own = invocations.c.project_id == project_id
    if (connection.scalar(select(func.sum(invocations.c.size_bytes)).where(own)) or 0) <= max_bytes:
        return None
    total = func.sum(invocations.c.size_bytes).over(order_by=invocations.c.id.desc()).label("total")
    summed = select(invocations.c.id, total).where(own).subquery()
    query = select(summed.c.id).where(summed.c.total > max_bytes).order_by(summed.c.id.desc()).limit(1)
    found = connection.execute(query).scalar_one_or_none()
    return None if found is None else InvocationId(found)


def delete_up_to(connection: Connection, project_id: ProjectId, newest: InvocationId, *, limit: int) -> int:
    """Delete up to `limit` of a project's records, that one and older ones; how many, 0 for none."""
    old = _SIZED.where(invocations.c.project_id == project_id, invocations.c.id <= newest)
    return _delete(connection, old, limit)


def delete_before(connection: Connection, project_id: ProjectId, oldest_kept: InvocationId, *, limit: int) -> int:
    """Delete up to `limit` of a project's records that are older; how many, 0 for none."""
    old = _SIZED.where(invocations.c.project_id == project_id, invocations.c.id < oldest_kept)
    return _delete(connection, old, limit)


def delete_older(connection: Connection, before_ms: int, *, limit: int) -> int:
    """Delete up to `limit` records of calls made before that time; how many, 0 for none."""
    return _delete(connection, _SIZED.where(invocations.c.id < first_of_ms(before_ms)), limit)


def _delete(connection: Connection, old: Select[Any], limit: int) -> int:
    """The first of them, up to `limit`, and fewer where they are large."""
    with connection.execute(old.order_by(invocations.c.id).limit(limit)) as rows:
        chosen = first_step((row.id, row.size_bytes) for row in rows)
    return connection.execute(delete(invocations).where(invocations.c.id.in_(chosen))).rowcount if chosen else 0
