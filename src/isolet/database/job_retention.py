"""Which jobs that ended go, and their end; and keys that ran out. In steps that are small in rows and in bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, exists, func, select, text, tuple_

from isolet.database.tables.jobs import idempotency_keys, jobs
from isolet.ids import JobId, ProjectId

_ENDED = text("finished_at_ms IS NOT NULL")
# What one transaction deletes: a body may have a hundred megabytes, and each of its pages is written.
_ROWS = 500
_BYTES = 32 * 1024 * 1024
_WINDOW_ROWS = 2_000


def delete_ended_before(connection: Connection, before_ms: int) -> int:
    """Delete some jobs that ended before that time; how many, 0 when there are none."""
    old = select(jobs.c.id, jobs.c.kept_bytes).where(_ENDED, jobs.c.finished_at_ms < before_ms)
    rows = connection.execute(old.order_by(jobs.c.finished_at_ms).limit(_ROWS)).all()
    return _delete(connection, [row.id for row in _step(rows)])


def kept_sizes(connection: Connection, project_id: ProjectId | None = None) -> list[tuple[ProjectId, int]]:
    """What the jobs of each project, or of that one, take that have ended, in bytes. It reads one index."""
    query = select(jobs.c.project_id, func.sum(jobs.c.kept_bytes)).where(_ENDED).group_by(jobs.c.project_id)
    if project_id is not None:
        query = query.where(jobs.c.project_id == project_id)
    return [(ProjectId(found), int(size)) for found, size in connection.execute(query)]


def delete_oldest(connection: Connection, project_id: ProjectId, over_bytes: int) -> int:
    """Delete some of a project's jobs, those that ended first, up to that many bytes; how many bytes, 0 for none."""
    own = select(jobs.c.id, jobs.c.kept_bytes).where(_ENDED, jobs.c.project_id == project_id)
    rows = connection.execute(own.order_by(jobs.c.finished_at_ms).limit(_ROWS)).all()
    chosen, freed = [], 0
    for row in _step(rows):
        if freed < over_bytes:
            chosen.append(row.id)
            freed += row.kept_bytes
    _delete(connection, chosen)
    return freed


def delete_keys(connection: Connection, now_ms: int) -> int:
    """Delete some keys that ran out; how many, 0 when there are none."""
    columns = (idempotency_keys.c.function_id, idempotency_keys.c.key)
    old = select(*columns).where(idempotency_keys.c.expires_at_ms <= now_ms).limit(_ROWS)
    return connection.execute(delete(idempotency_keys).where(tuple_(*columns).in_(old))).rowcount


def keys_without_jobs(
    connection: Connection, after: tuple[str, str] | None
) -> tuple[list[tuple[str, str]], tuple[str, str] | None]:
    """Those among the next keys whose jobs are gone, and where to go on; None at the end."""
    table = idempotency_keys.c
    there = exists().where(jobs.c.id == table.job_id)
    query = select(table.function_id, table.key, there.label("there")).order_by(table.function_id, table.key)
    if after is not None:
        query = query.where(tuple_(table.function_id, table.key) > after)
    rows = connection.execute(query.limit(_WINDOW_ROWS)).all()
    found = [(row.function_id, row.key) for row in rows if not row.there]
    return found, (rows[-1].function_id, rows[-1].key) if len(rows) == _WINDOW_ROWS else None


def delete_these_keys(connection: Connection, keys: Sequence[tuple[str, str]]) -> None:
    table = idempotency_keys.c
    there = exists().where(jobs.c.id == table.job_id)
    connection.execute(delete(idempotency_keys).where(tuple_(table.function_id, table.key).in_(keys), ~there))


def _step(rows: Sequence[Any]) -> Sequence[Any]:
    """As many of the first as one transaction deletes, at least one."""
    size = 0
    for count, row in enumerate(rows):
        size += row.kept_bytes
        if size > _BYTES:
            return rows[: max(count, 1)]
    return rows


def _delete(connection: Connection, ids: Sequence[JobId]) -> int:
    return connection.execute(delete(jobs).where(jobs.c.id.in_(ids))).rowcount if ids else 0
