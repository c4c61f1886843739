"""What the records of calls say about a function: counts, failures, durations, and a log to page through.

A call counts as failed when its status is 400 or more, whoever gave it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, case, func, or_, select

from isolet.domain.invocations import Invocation
from isolet.ids import FunctionId, ProjectId
from isolet.store.invocations import read_invocation
from isolet.store.schema import invocations

_FAILED = invocations.c.status >= 400


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionStats:
    """Over all records; the members that begin with `recent` over those since a given time."""

    count: int = 0
    errors: int = 0
    average_us: float = 0.0
    recent_count: int = 0
    recent_errors: int = 0
    recent_average_us: float = 0.0
    last_at_ms: int | None = None
    last_status: int | None = None


def project_stats(
    connection: Connection, project_id: ProjectId, *, recent_from_ms: int, function_id: FunctionId | None = None
) -> dict[FunctionId, FunctionStats]:
    """Of every function of a project that was called, or of one."""
    recent = invocations.c.started_at_ms >= recent_from_ms
    where = [invocations.c.project_id == project_id]
    if function_id is not None:
        where.append(invocations.c.function_id == function_id)
    query = (
        select(
            invocations.c.function_id,
            func.count().label("count"),
            _total(_FAILED).label("errors"),
            func.avg(invocations.c.duration_us).label("average_us"),
            _total(recent).label("recent_count"),
            _total(and_(recent, _FAILED)).label("recent_errors"),
            func.avg(case((recent, invocations.c.duration_us))).label("recent_average_us"),
            func.max(invocations.c.id).label("last_id"),
        )
        .where(*where)
        .group_by(invocations.c.function_id)
        .subquery()
    )
    rows = connection.execute(
        select(query, invocations.c.started_at_ms, invocations.c.status).join(
            invocations, invocations.c.id == query.c.last_id
        )
    )
    return {
        FunctionId(row.function_id): FunctionStats(
            count=row._mapping["count"],
            errors=int(row.errors),
            average_us=float(row.average_us or 0),
            recent_count=int(row.recent_count),
            recent_errors=int(row.recent_errors),
            recent_average_us=float(row.recent_average_us or 0),
            last_at_ms=row.started_at_ms,
            last_status=row.status,
        )
        for row in rows
    }


def list_log(
    connection: Connection,
    function_id: FunctionId,
    *,
    limit: int,
    since_ms: int | None = None,
    failed: bool | None = None,
) -> list[Invocation]:
    """Newest first, those that began after `since_ms`. `failed` keeps calls with an error, or those without one."""
    query = select(invocations).where(invocations.c.function_id == function_id)
    if since_ms is not None:
        query = query.where(invocations.c.started_at_ms > since_ms)
    if failed is not None:
        bad = or_(_FAILED, invocations.c.error.is_not(None))
        query = query.where(bad if failed else ~bad)
    rows = connection.execute(query.order_by(invocations.c.id.desc()).limit(limit))
    return [read_invocation(row) for row in rows]


def _total(condition: Any) -> Any:
    return func.sum(case((condition, 1), else_=0))
