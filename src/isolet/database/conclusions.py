"""Ends of jobs: each counts only while its lease is still owned, and is one transaction with its join."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace
from sqlalchemy import Connection

from isolet.database.jobs import ROW_BYTES, ROWS_A_STATEMENT, Prepare, as_it_is, dump_history, insert_jobs
from isolet.database.plain_sql import savepoint
from isolet.domain.jobs import Job, JobState
from isolet.ids import JobId

# What would wait again though its end was asked for has ended.
_CONCLUDE = """
    WITH done(id, owner, claim, state, due, attempts, crashes, finished, at, result, body, error, history)
        AS (VALUES {rows})
    UPDATE jobs SET
        state = CASE WHEN jobs.cancel_requested AND CAST(done.state AS TEXT) = 'queued'
            THEN 'cancelled' ELSE CAST(done.state AS TEXT) END,
        finished_at_ms = CASE WHEN jobs.cancel_requested AND CAST(done.state AS TEXT) = 'queued'
            THEN CAST(done.at AS BIGINT) ELSE CAST(done.finished AS BIGINT) END,
        due_at_ms = CAST(done.due AS BIGINT),
        attempts = CAST(done.attempts AS INTEGER), crashes = CAST(done.crashes AS INTEGER),
        result = CAST(done.result AS TEXT),
        result_body = COALESCE(CAST(done.body AS {blob}), jobs.result_body),
        error = CAST(done.error AS TEXT), history = CAST(done.history AS TEXT),
        kept_bytes = {row_bytes} + jobs.body_bytes + length(jobs.payload) + length(jobs.target)
            + length(CAST(done.result AS TEXT)) + length(CAST(done.history AS TEXT))
            + length(COALESCE(CAST(done.body AS {blob}), jobs.result_body)),
        lease_owner = NULL, lease_until_ms = NULL
    FROM done
    WHERE jobs.id = CAST(done.id AS TEXT) AND jobs.state = 'running'
        AND jobs.lease_owner = CAST(done.owner AS TEXT) AND jobs.claims = CAST(done.claim AS INTEGER)
    RETURNING jobs.id, jobs.state
"""

# Runs in the transaction that ends a job, with the job as it is written, which is `cancelled` where the outcome says
# `queued` and its end was asked for. What it writes and the jobs that it returns are on disk if and only if the end is.
# It raises JoinRefused to undo both.
Join = Callable[[Connection, Job], Sequence[Job]]


class JoinRefused(Exception):
    """Raised by a join when a job may not end as its outcome says. The text is the error that it fails with."""


class Outcome(Struct, frozen=True, kw_only=True):
    """A job after a try, and what is written with it. Follow-ups are written only when the job ends as `job` says.

    `continues`: the one follow-up goes on with the same work, and takes the job's place at once, whoever waits.
    """

    job: Job
    follow_ups: Sequence[Job] = ()
    join: Join | None = None
    continues: bool = False


class Conclusion(Struct, frozen=True, kw_only=True):
    """`outcome.job` is the job after its try, which ended at `at_ms`; `owner` and its claims are its lease.

    `prepare` completes the jobs that a join adds.
    """

    outcome: Outcome
    owner: str
    at_ms: int
    prepare: Prepare = field(default=as_it_is)


class Concluded(Struct, frozen=True, kw_only=True):
    """`state` is what the job is now, None when its lease was lost and nothing was written.

    `followed`: the follow-ups are written. `added` are the jobs of a join. `refused` is why a join refused; nothing was
    written then, and the lease is owned still.
    """

    state: JobState | None = None
    followed: bool = False
    added: Sequence[Job] = ()
    refused: str | None = None


def conclude(connection: Connection, items: Sequence[Conclusion]) -> list[Concluded]:
    """Write how tries ended. Those without a join share statements."""
    plain = [item for item in items if item.outcome.join is None]
    states = _update(connection, plain)
    ends = {item.outcome.job.id: _ended(item, states.get(item.outcome.job.id)) for item in plain}
    insert_jobs(
        connection, [job for item in plain if ends[item.outcome.job.id].followed for job in item.outcome.follow_ups]
    )
    return [
        ends[item.outcome.job.id] if item.outcome.join is None else _joined(connection, item, item.outcome.join)
        for item in items
    ]


def _ended(item: Conclusion, state: JobState | None, added: Sequence[Job] = ()) -> Concluded:
    return Concluded(state=state, followed=state is item.outcome.job.state, added=added)


def _joined(connection: Connection, item: Conclusion, join: Join) -> Concluded:
    outcome = item.outcome
    try:
        with savepoint(connection):
            state = _update(connection, [item]).get(outcome.job.id)
            if state is None:
                return Concluded()
            job = outcome.job
            if state is not job.state:
                job = replace(job, state=state, finished_at_ms=item.at_ms)
            added = [item.prepare(one) for one in join(connection, job)]
            ended = _ended(item, state, added)
            insert_jobs(connection, [*(outcome.follow_ups if ended.followed else ()), *added])
            return ended
    except JoinRefused as exc:
        return Concluded(refused=str(exc))


def _update(connection: Connection, items: Sequence[Conclusion]) -> dict[JobId, JobState]:
    """The states of those whose lease was owned."""
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    row = f"({', '.join([mark] * 13)})"
    blob = "BYTEA" if connection.dialect.name == "postgresql" else "BLOB"
    states: dict[JobId, JobState] = {}
    for first in range(0, len(items), ROWS_A_STATEMENT):
        part = items[first : first + ROWS_A_STATEMENT]
        values = tuple(value for item in part for value in _values(item))
        done = connection.exec_driver_sql(
            _CONCLUDE.format(rows=", ".join([row] * len(part)), blob=blob, row_bytes=ROW_BYTES), values
        )
        states.update((JobId(job_id), JobState(state)) for job_id, state in done)
    return states


def _values(item: Conclusion) -> tuple[Any, ...]:
    job = item.outcome.job
    return (
        job.id,
        item.owner,
        job.claims,
        job.state.value,
        job.due_at_ms,
        job.attempts,
        job.crashes,
        job.finished_at_ms,
        item.at_ms,
        job.result,
        None if job.keeps_result else job.result_body,
        job.error,
        dump_history(job.history),
    )
