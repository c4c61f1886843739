"""Jobs in the database: the row is the queue entry. Each function takes many items, so that they share a transaction.

What runs for every call goes past SQLAlchemy's own statements, which cost several times the CPU of the rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, delete, func, select, text, true, update

from isolet.domain.jobs import LEASE_MS, Attempt, Job, JobEvent, JobKind, JobState, concluded, next_state, shares
from isolet.ids import FunctionId, JobId, ProjectId
from isolet.store.schema import idempotency_keys, jobs

_COLUMNS = tuple(column.name for column in jobs.columns)
_ROWS_A_STATEMENT = 50
_QUEUED = text("state = 'queued'")
_RUNNING = text("state = 'running'")
# One step of an index for each lane, however many jobs are in it.
_LANES = text(
    """
    WITH RECURSIVE found(lane) AS (
        SELECT min(lane) FROM jobs WHERE state = 'queued' AND kind = :kind
        UNION ALL
        SELECT (SELECT min(lane) FROM jobs WHERE state = 'queued' AND kind = :kind AND lane > found.lane)
        FROM found WHERE found.lane IS NOT NULL
    )
    SELECT lane FROM found WHERE lane IS NOT NULL
    """
)
_CONCLUDE = """
    WITH done(id, owner, claim, state, due, attempts, finished, status, headers, body, error, history)
        AS (VALUES {rows})
    UPDATE jobs SET state = CAST(done.state AS TEXT), due_at_ms = CAST(done.due AS BIGINT),
        attempts = CAST(done.attempts AS INTEGER), finished_at_ms = CAST(done.finished AS BIGINT),
        result_status = CAST(done.status AS INTEGER), result_headers = CAST(done.headers AS TEXT),
        result_body = done.body, error = CAST(done.error AS TEXT), history = CAST(done.history AS TEXT),
        lease_owner = NULL, lease_until_ms = NULL
    FROM done
    WHERE jobs.id = CAST(done.id AS TEXT) AND jobs.state = 'running'
        AND jobs.lease_owner = CAST(done.owner AS TEXT) AND jobs.claims = CAST(done.claim AS INTEGER)
    RETURNING jobs.id
"""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """`job` as it is after its try, `owner` and `job.claims` the lease it ran under, and what follows from it."""

    job: Job
    owner: str
    follow_up: Job | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Up to `limit` jobs; see `domain.jobs.shares` for `running` and `room`."""

    kind: JobKind
    owner: str
    limit: int
    now_ms: int
    running: Mapping[str, int]
    room: Callable[[str], int]


def accept(connection: Connection, items: Sequence[Accepted]) -> list[Kept]:
    """Keep jobs, in whatever state they are given. A key that was used gives the earlier job instead."""
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
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    row = f"({', '.join([mark] * len(_COLUMNS))})"
    start = f"INSERT INTO jobs ({', '.join(_COLUMNS)}) VALUES "  # noqa: S608 – names of our own table
    for first in range(0, len(batch), _ROWS_A_STATEMENT):
        part = batch[first : first + _ROWS_A_STATEMENT]
        values = tuple(value for job in part for value in _row(job))
        connection.exec_driver_sql(start + ", ".join([row] * len(part)), values)


def claim(connection: Connection, items: Sequence[Claim]) -> list[list[Job]]:
    return [_claim(connection, item) for item in items]


def _claim(connection: Connection, wanted: Claim) -> list[Job]:
    """The jobs that are due, shared between projects and lanes, leased to their new owner."""
    lanes = list(connection.execute(_LANES, {"kind": wanted.kind.value}).scalars())
    ids: list[str] = []
    running = dict(wanted.running)
    taken: dict[str, int] = {}
    while lanes and len(ids) < wanted.limit:
        limit = wanted.limit - len(ids)
        room = {name: wanted.room(name) - taken.get(name, 0) for name in lanes}
        split = shares(lanes, limit, running=running, room=room.__getitem__)
        for name, count in split.items():
            found = _due(connection, wanted, name, count, after=taken.get(name, 0))
            ids += found
            taken[name] = taken.get(name, 0) + len(found)
            project = name.partition(":")[0]
            running[project] = running.get(project, 0) + len(found)
            if len(found) < count:
                lanes.remove(name)
        if not split:
            break
    return _lease(connection, wanted, ids) if ids else []


def _due(connection: Connection, wanted: Claim, lane: str, count: int, *, after: int) -> list[str]:
    query = (
        select(jobs.c.id)
        .where(_QUEUED, jobs.c.kind == wanted.kind.value, jobs.c.lane == lane, jobs.c.due_at_ms <= wanted.now_ms)
        .order_by(jobs.c.due_at_ms)
        .offset(after)
        .limit(count)
    )
    return list(connection.execute(query.with_for_update(skip_locked=True)).scalars())


def _lease(connection: Connection, wanted: Claim, ids: Sequence[str]) -> list[Job]:
    state = next_state(JobState.QUEUED, JobEvent.CLAIMED)
    rows = connection.execute(
        update(jobs)
        .where(jobs.c.id.in_(ids), _QUEUED)
        .values(
            state=state.value,
            lease_owner=wanted.owner,
            lease_until_ms=wanted.now_ms + LEASE_MS,
            claims=jobs.c.claims + 1,
        )
        .returning(*jobs.columns)
    )
    return sorted((read_job(row) for row in rows), key=lambda job: (job.due_at_ms, job.id))


def conclude(connection: Connection, items: Sequence[Conclusion]) -> list[bool]:
    """Write how tries ended, each only while its lease is still owned; whether it was. Follow-ups go with it."""
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    row = f"({', '.join([mark] * 12)})"
    owned: set[str] = set()
    for first in range(0, len(items), _ROWS_A_STATEMENT):
        part = items[first : first + _ROWS_A_STATEMENT]
        values = tuple(value for item in part for value in _conclusion(item))
        done = connection.exec_driver_sql(_CONCLUDE.format(rows=", ".join([row] * len(part))), values)
        owned.update(done.scalars())
    insert_jobs(connection, [item.follow_up for item in items if item.follow_up and item.job.id in owned])
    return [item.job.id in owned for item in items]


def _conclusion(item: Conclusion) -> tuple[Any, ...]:
    job = item.job
    return (
        job.id,
        item.owner,
        job.claims,
        job.state.value,
        job.due_at_ms,
        job.attempts,
        job.finished_at_ms,
        job.result_status,
        json.dumps(job.result_headers),
        job.result_body,
        job.error,
        _dump_history(job.history),
    )


def heartbeat(connection: Connection, owner: str, now_ms: int) -> dict[JobId, bool]:
    """Lengthen every lease of `owner`; the jobs that it still owns, and whether their end was asked for."""
    rows = connection.execute(
        update(jobs)
        .where(jobs.c.lease_owner == owner, _RUNNING)
        .values(lease_until_ms=now_ms + LEASE_MS)
        .returning(jobs.c.id, jobs.c.cancel_requested)
    )
    return {row.id: row.cancel_requested for row in rows}


def requeue(
    connection: Connection,
    now_ms: int,
    *,
    owner: str | None = None,
    ids: Collection[JobId] | None = None,
    everything: bool = False,
) -> int:
    """Put back what was running: of an owner that is gone, these, and whatever lost its lease. How many."""
    lost = jobs.c.lease_until_ms <= now_ms
    if everything:
        lost = true()
    elif owner is not None:
        lost = lost | (jobs.c.lease_owner == owner)
    if ids:
        lost = lost | jobs.c.id.in_(ids)
    found = connection.execute(select(jobs).where(_RUNNING, lost).with_for_update(skip_locked=True)).all()
    for row in found:
        job = read_job(row)
        began = (job.lease_until_ms or now_ms) - LEASE_MS
        lost_try = Attempt(at_ms=began, duration_ms=max(0, now_ms - began), error="the server ended while it ran")
        after = concluded(job, JobEvent.EXPIRED, now_ms, attempt=lost_try)
        conclude(connection, [Conclusion(job=after, owner=job.lease_owner or "")])
    return len(found)


def cancel(connection: Connection, job_id: JobId, now_ms: int) -> bool:
    """End a job that waits, ask for the end of one that runs; whether it had not ended yet."""
    job = get(connection, job_id, for_update=True)
    if job is None or job.state.ended:
        return False
    if job.state is JobState.RUNNING:
        values: dict[str, Any] = {"cancel_requested": True}
    else:
        values = {"state": next_state(job.state, JobEvent.CANCELLED).value, "finished_at_ms": now_ms}
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(values))
    return True


def reopen(connection: Connection, job_ids: Sequence[JobId], now_ms: int) -> int:
    """Queue ended jobs once more, with their attempts counted anew. How many of them had ended."""
    found = connection.execute(
        update(jobs)
        .where(jobs.c.id.in_(job_ids), jobs.c.state.in_([state.value for state in JobState if state.ended]))
        .values(
            state=next_state(JobState.FAILED, JobEvent.REOPENED).value,
            due_at_ms=now_ms,
            attempts=0,
            finished_at_ms=None,
            cancel_requested=False,
            error=None,
        )
    )
    return found.rowcount


def get(connection: Connection, job_id: JobId, *, for_update: bool = False) -> Job | None:
    query = select(jobs).where(jobs.c.id == job_id)
    row = connection.execute(query.with_for_update() if for_update else query).one_or_none()
    return None if row is None else read_job(row)


def callback_of(connection: Connection, job_id: JobId) -> Job | None:
    """The newest delivery that tells of a call."""
    query = select(jobs).where(jobs.c.parent_id == job_id).order_by(jobs.c.id.desc()).limit(1)
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
    """Newest first; `before` is the last id of the page before."""
    query: Select[Any] = select(jobs).where(jobs.c.kind == JobKind.CALLBACK.value).order_by(jobs.c.id.desc())
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


def delete_project(connection: Connection, project_id: ProjectId) -> None:
    """Everything of a project that is gone."""
    connection.execute(delete(jobs).where(jobs.c.project_id == project_id))


def _row(job: Job) -> tuple[Any, ...]:
    """The columns in their order, as the drivers take them."""
    values = {
        "kind": job.kind.value,
        "state": job.state.value,
        "headers": json.dumps(job.headers),
        "result_headers": json.dumps(job.result_headers),
        "history": _dump_history(job.history),
    }
    return tuple(values[name] if name in values else getattr(job, name) for name in _COLUMNS)


def _dump_history(history: Sequence[Attempt]) -> str:
    return json.dumps([attempt.to_json() for attempt in history]) if history else "[]"


def read_job(row: Row[Any]) -> Job:
    values = dict(row._mapping)
    values["kind"] = JobKind(row.kind)
    values["state"] = JobState(row.state)
    values["headers"] = tuple((name, value) for name, value in json.loads(row.headers))
    values["result_headers"] = tuple((name, value) for name, value in json.loads(row.result_headers))
    values["body"] = bytes(row.body)
    values["result_body"] = bytes(row.result_body)
    values["history"] = tuple(Attempt(**attempt) for attempt in json.loads(row.history))
    return Job(**values)
