"""Which jobs that ended go, and their end; and keys that ran out. In steps that are small in rows and in bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, delete, exists, func, select, text, tuple_

from isolet.database.steps import ROWS, first_step
from isolet.database.tables.jobs import idempotency_keys, jobs
from isolet.ids import JobId, ProjectId

_ENDED, _OPEN = text("finished_at_ms IS NOT NULL"), text("finished_at_ms IS NULL")
_WINDOW_ROWS = 2_000


def delete_ended_before(connection: Connection, before_ms: int) -> int:
    """Delete some jobs that ended before that time; how many, 0 when there are none."""
    old = select(jobs.c.id, jobs.c.kept_bytes).where(_ENDED, jobs.c.finished_at_ms < before_ms)
    return _delete(connection, _first(connection, old.order_by(jobs.c.finished_at_ms)))


def kept_sizes(connection: Connection, project_id: ProjectId | None = None) -> list[tuple[ProjectId, int]]:
    """What the jobs of each project, or of that one, take that have ended, in bytes. It reads one index."""
    query = select(jobs.c.project_id, func.sum(jobs.c.kept_bytes)).where(_ENDED).group_by(jobs.c.project_id)
    if project_id is not None:
        query = query.where(jobs.c.project_id == project_id)
    return [(ProjectId(found), int(size)) for found, size in connection.execute(query)]


def delete_oldest(connection: Connection, project_id: ProjectId, over_bytes: int) -> int:
    """Delete some of a project's jobs, those that ended first, up to that many bytes; how many bytes, 0 for none."""
    own = select(jobs.c.id, jobs.c.kept_bytes).where(_ENDED, jobs.c.project_id == project_id)
    rows = connection.execute(own.order_by(jobs.c.finished_at_ms).limit(ROWS)).all()
    chosen: list[JobId] = []
    freed = 0
    for job_id in first_step((row.id, row.kept_bytes) for row in rows):
        if freed < over_bytes:
            freed += rows[len(chosen)].kept_bytes
            chosen.append(job_id)
    _delete(connection, chosen)
    return freed


def delete_of_project(connection: Connection, project_id: ProjectId) -> int:
    """Delete some of a project's jobs, first what waits or runs; how many, 0 when there are none."""
    waiting = select(jobs.c.id, jobs.c.body_bytes).where(_OPEN, jobs.c.project_id == project_id)
    ended = select(jobs.c.id, jobs.c.kept_bytes).where(_ENDED, jobs.c.project_id == project_id)
    return _delete(connection, _first(connection, waiting) or _first(connection, ended))


def delete_keys(connection: Connection, now_ms: int) -> int:
    """Delete some keys that ran out; how many, 0 when there are none."""
    columns = (idempotency_keys.c.function_id, idempotency_keys.c.key)
    old = select(*columns).where(idempotency_keys.c.expires_at_ms <= now_ms).limit(ROWS)
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


def _first(connection: Connection, found: Select[Any]) -> list[JobId]:
    """Those of these jobs, with their sizes, that one transaction deletes."""
    with connection.execute(found.limit(ROWS)) as rows:
        return first_step((JobId(job_id), size) for job_id, size in rows)


def _delete(connection: Connection, ids: Sequence[JobId]) -> int:
    return connection.execute(delete(jobs).where(jobs.c.id.in_(ids))).rowcount if ids else 0
