"""Jobs in the database: the row is the queue entry. `leases` has how servers take them, `conclusions` how they end.

What runs for every call goes past SQLAlchemy's own statements, which cost several times the CPU of the rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection, LargeBinary, Row, delete, func, select, text, update

from isolet.database.tables.jobs import jobs
from isolet.domain.jobs import HELD_UNTIL_MS, LEASE_MS, Attempt, Job, JobEvent, JobKind, JobState, next_state
from isolet.ids import JobId, ProjectId

_COLUMNS = tuple(column.name for column in jobs.columns)
# What a row takes besides its texts and bodies.
ROW_BYTES = 1_000
# What a job is without its bodies, which may have a hundred megabytes.
LIGHT = tuple(column for column in jobs.columns if column.name not in ("body", "result_body", "kept_bytes"))
_ALL = tuple(column for column in jobs.columns if column.name != "kept_bytes")
_DATABASE_MS = text("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)")
ROWS_A_STATEMENT = 50
_STATEMENT_BYTES = 4 * 1024 * 1024
_QUEUED = text("state = 'queued'")
_RUNNING = text("state = 'running'")
_OPEN = text("finished_at_ms IS NULL")


# Completes a job that a function of the database layer adds. It runs in a database thread.
Prepare = Callable[[Job], Job]


def as_it_is(job: Job) -> Job:
    return job


class Kept(Struct, frozen=True, kw_only=True):
    """What became of a job that was to be kept: `id` is an earlier job's when that stands for it.

    `same` says whether the earlier one was asked for by the same request. `cancelled` are jobs whose end was asked for
    in the same transaction: those that run here are to end now.
    """

    id: JobId
    new: bool = True
    same: bool = True
    cancelled: Sequence[JobId] = ()


# Runs in the transaction that keeps a job, before the job is written, and decides whether it is: what it writes itself
# is on disk if and only if what it returns is true. It does not raise.
Admission = Callable[[Connection, Job], Kept]


class Accepted(Struct, frozen=True, kw_only=True):
    """A job to keep, and what is written with it.

    `order` is the key of the row that `admission` writes, with the table before it: admissions of a transaction run in
    this order, so that two servers that want the same rows do not wait for each other.
    """

    job: Job
    admission: Admission | None = None
    order: tuple[str, ...] = ()


def accept(connection: Connection, items: Sequence[Accepted]) -> list[Kept]:
    """Keep jobs, in whatever state they are given. Many items, so that they share a transaction."""
    kept = [Kept(id=item.job.id) for item in items]
    joined = [(item.order, place, item.admission) for place, item in enumerate(items) if item.admission is not None]
    for _, place, admission in sorted(joined, key=lambda entry: entry[:2]):
        kept[place] = admission(connection, items[place].job)
    insert_jobs(connection, [item.job for item, one in zip(items, kept, strict=True) if one.new])
    return kept


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


def cancel(
    connection: Connection,
    job_id: JobId,
    now_ms: int,
    join: Callable[[Connection, JobState], None] | None = None,
) -> JobState | None:
    """End a job that waits, ask for the end of one that runs; its state then. None when it had ended.

    `join` runs in the same transaction, with that state, unless it is None.
    """
    found = connection.execute(select(jobs.c.state).where(jobs.c.id == job_id).with_for_update()).scalar()
    state = None if found is None else JobState(found)
    if state is None or state.ended:
        return None
    if state is JobState.RUNNING:
        values: dict[str, Any] = {"cancel_requested": True}
    else:
        state = next_state(state, JobEvent.CANCELLED)
        kept = jobs.c.body_bytes + ROW_BYTES
        for column in (jobs.c.payload, jobs.c.target, jobs.c.history, jobs.c.result, jobs.c.result_body):
            kept = kept + func.length(column)
        values = {"state": state.value, "finished_at_ms": now_ms, "kept_bytes": kept}
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(values))
    if join is not None:
        join(connection, state)
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


def bring_forward(connection: Connection, now_ms: int, by_ms: int) -> None:
    """Let queued jobs that are due later than now be due so much earlier; what is held stays held."""
    later = (jobs.c.due_at_ms > now_ms) & (jobs.c.due_at_ms < HELD_UNTIL_MS)
    connection.execute(update(jobs).where(_QUEUED, later).values(due_at_ms=jobs.c.due_at_ms - by_ms))


def get(connection: Connection, job_id: JobId) -> Job | None:
    """All of a job."""
    row = connection.execute(select(*_ALL).where(jobs.c.id == job_id)).one_or_none()
    return None if row is None else read_job(row)


def get_light(connection: Connection, job_id: JobId) -> Job | None:
    """A job without bodies."""
    row = connection.execute(select(*LIGHT).where(jobs.c.id == job_id)).one_or_none()
    return None if row is None else read_job(row)


def get_result_part(connection: Connection, job_id: JobId, start: int, size: int) -> bytes | None:
    """Some of the bytes of a job's result, none behind its end; None when the job is gone."""
    part = func.substr(jobs.c.result_body, start + 1, size, type_=LargeBinary)
    row = connection.execute(select(part.label("part")).where(jobs.c.id == job_id)).one_or_none()
    return None if row is None else bytes(row.part or b"")


def get_body(connection: Connection, job_id: JobId) -> bytes | None:
    """The large part of what is to be done; None when the job is gone."""
    body = connection.execute(select(jobs.c.body).where(jobs.c.id == job_id)).scalar()
    return None if body is None else bytes(body)


def next_due_ms(connection: Connection, kind: JobKind, *, after_ms: int = 0) -> int | None:
    """When the first of the queued jobs is due that is due after this time."""
    due = jobs.c.due_at_ms
    query = select(due).where(_QUEUED, jobs.c.kind == kind, due > after_ms).order_by(due).limit(1)
    return connection.execute(query).scalar()


def count_by_project(connection: Connection) -> list[tuple[ProjectId, JobKind, int, int]]:
    """Jobs that have not ended, and the bytes that they take, of each project and kind. It reads one index."""
    here = (jobs.c.project_id, jobs.c.kind)
    rows = connection.execute(select(*here, func.count(), func.sum(jobs.c.kept_bytes)).where(_OPEN).group_by(*here))
    return [(project_id, JobKind(kind), count, int(total)) for project_id, kind, count, total in rows]


def count_open(connection: Connection) -> dict[tuple[JobKind, JobState], int]:
    """How many jobs wait and run. It steps through the partial indexes, so jobs that ended cost nothing."""
    counts = {}
    for state, where in ((JobState.QUEUED, _QUEUED), (JobState.RUNNING, _RUNNING)):
        rows = connection.execute(select(jobs.c.kind, func.count()).where(where).group_by(jobs.c.kind)).all()
        counts.update({(JobKind(kind), state): count for kind, count in rows})
    return counts


def delete_jobs(connection: Connection, ids: Sequence[JobId]) -> None:
    connection.execute(delete(jobs).where(jobs.c.id.in_(ids)))


def _row(job: Job) -> tuple[Any, ...]:
    """The columns in their order, as the drivers take them."""
    values = {
        "state": job.state.value,
        "history": dump_history(job.history),
        "kept_bytes": job.size_bytes,
    }
    return tuple(values[name] if name in values else getattr(job, name) for name in _COLUMNS)


def dump_history(history: Sequence[Attempt]) -> str:
    return json.dumps([attempt.to_json() for attempt in history]) if history else "[]"


def read_job(row: Row[*tuple[Any, ...]]) -> Job:
    """From a row that may be without its bodies, or have a body that is null; they stay in the store then."""
    values = dict(row._mapping)
    values["kind"] = JobKind(row.kind)
    values["state"] = JobState(row.state)
    values["body"] = bytes(values.get("body") or b"")
    values["keeps_result"] = "result_body" not in values
    values["result_body"] = bytes(values.get("result_body", b""))
    values["history"] = tuple(Attempt(**attempt) for attempt in json.loads(row.history))
    return Job(**values)
