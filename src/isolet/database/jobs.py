"""Jobs in the database: the row is the queue entry. `leases` has how servers take them and end them.

What runs for every call goes past SQLAlchemy's own statements, which cost several times the CPU of the rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, LargeBinary, Row, Select, delete, func, select, text, update

from isolet.database.schema import idempotency_keys, jobs
from isolet.domain.jobs import LEASE_MS, Attempt, Job, JobEvent, JobKind, JobState, next_state
from isolet.ids import FunctionId, JobId, ProjectId

_COLUMNS = tuple(column.name for column in jobs.columns)
# What a job is without its bodies, which may have a hundred megabytes.
LIGHT = tuple(column for column in jobs.columns if column.name not in ("body", "result_body"))
_DATABASE_MS = text("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)")
ROWS_A_STATEMENT = 50
_WINDOW_ROWS = 5_000
_STATEMENT_BYTES = 4 * 1024 * 1024
_QUEUED = text("state = 'queued'")
_RUNNING = text("state = 'running'")
_OPEN = text("finished_at_ms IS NULL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Idempotency:
    """A caller's key for a function; `digest` stands for what was asked for with it."""

    key: str
    digest: bytes
    expires_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A job to keep, and the key that it is kept under."""

    job: Job
    idempotency: Idempotency | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """`id` is an earlier job's when the key had been used; `same` says whether for the same request."""

    id: JobId
    new: bool = True
    same: bool = True


def accept(connection: Connection, items: Sequence[Accepted]) -> list[Kept]:
    """Keep jobs, in whatever state they are given. A key that was used gives the earlier job instead.

    Many items, so that they share a transaction.
    """
    kept = [_used(connection, item) if item.idempotency else Kept(id=item.job.id) for item in items]
    insert_jobs(connection, [item.job for item, one in zip(items, kept, strict=True) if one.new])
    return kept


def _used(connection: Connection, item: Accepted) -> Kept:
    """Take the key, unless it was taken. Rows of the same batch are seen too."""
    wanted = item.idempotency
    if wanted is None:
        return Kept(id=item.job.id)
    table = idempotency_keys.c
    here = (table.function_id == item.job.function_id) & (table.key == wanted.key)
    connection.execute(delete(idempotency_keys).where(here, table.expires_at_ms <= item.job.created_at_ms))
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    connection.exec_driver_sql(
        f"INSERT INTO idempotency_keys (function_id, key, digest, job_id, expires_at_ms) "  # noqa: S608 – marks only
        f"VALUES ({', '.join([mark] * 5)}) ON CONFLICT (function_id, key) DO NOTHING",
        (item.job.function_id, wanted.key, wanted.digest, item.job.id, wanted.expires_at_ms),
    )
    row = connection.execute(select(idempotency_keys).where(here)).one()
    new = row.job_id == item.job.id
    return Kept(id=row.job_id, new=new, same=new or bytes(row.digest) == wanted.digest)


def insert_jobs(connection: Connection, batch: Sequence[Job]) -> None:
    """One that runs from the first is leased by the database's clock."""
    if connection.dialect.name == "postgresql" and any(job.lease_until_ms for job in batch):
        until_ms = database_ms(connection, 0) + LEASE_MS
        batch = [replace(job, lease_until_ms=until_ms) if job.lease_until_ms else job for job in batch]
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    row = f"({', '.join([mark] * len(_COLUMNS))})"
    start = f"INSERT INTO jobs ({', '.join(_COLUMNS)}) VALUES "  # noqa: S608 – names of our own table
    for part in _parts(batch):
        values = tuple(value for job in part for value in _row(job))
        connection.exec_driver_sql(start + ", ".join([row] * len(part)), values)


def _parts(batch: Sequence[Job]) -> Iterator[Sequence[Job]]:
    """For a statement each: not too many, and none with a large body beside others."""
    part: list[Job] = []
    size = 0
    for job in batch:
        size += job.body_bytes
        if part and (len(part) == ROWS_A_STATEMENT or size > _STATEMENT_BYTES):
            yield part
            part, size = [], job.body_bytes
        part.append(job)
    if part:
        yield part


def database_ms(connection: Connection, now_ms: int) -> int:
    """The time by which leases go: the database's own where servers of several machines share it, else ours."""
    if connection.dialect.name != "postgresql":
        return now_ms
    return int(connection.execute(_DATABASE_MS).scalar_one())


def cancel(connection: Connection, job_id: JobId, now_ms: int) -> JobState | None:
    """End a job that waits, ask for the end of one that runs; its state then. None when it had ended."""
    found = connection.execute(select(jobs.c.state).where(jobs.c.id == job_id).with_for_update()).scalar()
    state = None if found is None else JobState(found)
    if state is None or state.ended:
        return None
    if state is JobState.RUNNING:
        values: dict[str, Any] = {"cancel_requested": True}
    else:
        state = next_state(state, JobEvent.CANCELLED)
        values = {"state": state.value, "finished_at_ms": now_ms}
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(values))
    return state


def reopen(connection: Connection, job_ids: Sequence[JobId], now_ms: int) -> int:
    """Queue ended jobs once more, with their attempts counted anew. How many of them had ended."""
    found = connection.execute(
        update(jobs)
        .where(jobs.c.id.in_(job_ids), jobs.c.state.in_([state.value for state in JobState if state.ended]))
        .values(
            state=next_state(JobState.FAILED, JobEvent.REOPENED).value,
            due_at_ms=now_ms,
            attempts=0,
            crashes=0,
            finished_at_ms=None,
            cancel_requested=False,
            error=None,
        )
    )
    return found.rowcount


def get(connection: Connection, job_id: JobId) -> Job | None:
    """All of a job."""
    row = connection.execute(select(jobs).where(jobs.c.id == job_id)).one_or_none()
    return None if row is None else read_job(row)


def get_light(connection: Connection, job_id: JobId) -> Job | None:
    """A job without bodies."""
    row = connection.execute(select(*LIGHT).where(jobs.c.id == job_id)).one_or_none()
    return None if row is None else read_job(row)


def get_result_part(connection: Connection, job_id: JobId, start: int, size: int) -> bytes | None:
    """Some of the bytes of a call's result, none behind its end; None when the job is gone."""
    part = func.substr(jobs.c.result_body, start + 1, size, type_=LargeBinary)
    row = connection.execute(select(part.label("part")).where(jobs.c.id == job_id)).one_or_none()
    return None if row is None else bytes(row.part or b"")


def get_body(connection: Connection, job_id: JobId) -> bytes | None:
    """What a call is asked with, or a callback tells; None when the job is gone."""
    body = connection.execute(select(jobs.c.body).where(jobs.c.id == job_id)).scalar()
    return None if body is None else bytes(body)


def callback_of(connection: Connection, job_id: JobId) -> Job | None:
    """The newest delivery that tells of a call, without bodies."""
    query = select(*LIGHT).where(jobs.c.parent_id == job_id).order_by(jobs.c.id.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else read_job(row)


def list_deliveries(
    connection: Connection,
    project_id: ProjectId | None,
    *,
    state: JobState | None = None,
    function_id: FunctionId | None = None,
    since_ms: int | None = None,
    until_ms: int | None = None,
    before: JobId | None = None,
    limit: int,
) -> list[Job]:
    """Newest first, without bodies; `before` is the last id of the page before."""
    query: Select[Any] = select(*LIGHT).where(jobs.c.kind == JobKind.CALLBACK.value).order_by(jobs.c.id.desc())
    conditions: tuple[tuple[Any, Callable[[Any], ColumnElement[bool]]], ...] = (
        (project_id, jobs.c.project_id.__eq__),
        (state, jobs.c.state.__eq__),
        (function_id, jobs.c.function_id.__eq__),
        (since_ms, jobs.c.created_at_ms.__ge__),
        (until_ms, jobs.c.created_at_ms.__lt__),
        (before, jobs.c.id.__lt__),
    )
    for value, condition in conditions:
        if value is not None:
            query = query.where(condition(value))
    return [read_job(row) for row in connection.execute(query.limit(limit))]


def next_due_ms(connection: Connection, kind: JobKind) -> int | None:
    """When the first of the queued jobs is due."""
    query = select(jobs.c.due_at_ms).where(_QUEUED, jobs.c.kind == kind.value).order_by(jobs.c.due_at_ms).limit(1)
    return connection.execute(query).scalar()


def count_by_project(connection: Connection) -> list[tuple[ProjectId, int, int]]:
    """Jobs that have not ended, and the bytes of their bodies, of each project that has any. It reads one index."""
    size = func.sum(jobs.c.body_bytes)
    rows = connection.execute(select(jobs.c.project_id, func.count(), size).where(_OPEN).group_by(jobs.c.project_id))
    return [(project_id, count, int(total)) for project_id, count, total in rows]


def count_open(connection: Connection) -> dict[tuple[JobKind, JobState], int]:
    """How many jobs wait and run. It steps through the partial indexes, so jobs that ended cost nothing."""
    counts = {}
    for state, where in ((JobState.QUEUED, _QUEUED), (JobState.RUNNING, _RUNNING)):
        rows = connection.execute(select(jobs.c.kind, func.count()).where(where).group_by(jobs.c.kind)).all()
        counts.update({(JobKind(kind), state): count for kind, count in rows})
    return counts


def prune(connection: Connection, *, ended_before_ms: int, now_ms: int, limit: int) -> int:
    """Delete jobs that ended long ago, and keys that ran out. How many jobs."""
    connection.execute(delete(idempotency_keys).where(idempotency_keys.c.expires_at_ms <= now_ms))
    old = select(jobs.c.id).where(jobs.c.finished_at_ms < ended_before_ms).limit(limit)
    return connection.execute(delete(jobs).where(jobs.c.id.in_(old))).rowcount


def ids_of_project(connection: Connection, project_id: ProjectId, after: str) -> tuple[list[JobId], str | None]:
    """A project's jobs among the next ones of all projects, and where to go on; None at the end."""
    rows = connection.execute(
        select(jobs.c.id, jobs.c.project_id).where(jobs.c.id > after).order_by(jobs.c.id).limit(_WINDOW_ROWS)
    ).all()
    found = [JobId(row.id) for row in rows if row.project_id == project_id]
    return found, rows[-1].id if len(rows) == _WINDOW_ROWS else None


def delete_jobs(connection: Connection, ids: Sequence[JobId]) -> None:
    connection.execute(delete(jobs).where(jobs.c.id.in_(ids)))


def _row(job: Job) -> tuple[Any, ...]:
    """The columns in their order, as the drivers take them."""
    values = {
        "kind": job.kind.value,
        "state": job.state.value,
        "headers": json.dumps(job.headers),
        "result_headers": json.dumps(job.result_headers),
        "history": dump_history(job.history),
    }
    return tuple(values[name] if name in values else getattr(job, name) for name in _COLUMNS)


def dump_history(history: Sequence[Attempt]) -> str:
    return json.dumps([attempt.to_json() for attempt in history]) if history else "[]"


def read_job(row: Row[*tuple[Any, ...]]) -> Job:
    """From a row that may be without its bodies, or have a body that is null; they stay in the store then."""
    values = dict(row._mapping)
    values["kind"] = JobKind(row.kind)
    values["state"] = JobState(row.state)
    values["headers"] = tuple((name, value) for name, value in json.loads(row.headers))
    values["result_headers"] = tuple((name, value) for name, value in json.loads(row.result_headers))
    values["body"] = bytes(values.get("body") or b"")
    values["keeps_result"] = "result_body" not in values
    values["result_body"] = bytes(values.get("result_body", b""))
    values["history"] = tuple(Attempt(**attempt) for attempt in json.loads(row.history))
    return Job(**values)
