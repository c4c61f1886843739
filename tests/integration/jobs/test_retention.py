"""What is kept of jobs that have ended, on each kind of database."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from sqlalchemy import select

from isolet.clock import SystemClock
from isolet.database import job_retention, steps
from isolet.database import jobs as stored
from isolet.database.conclusions import Conclusion, Outcome, conclude
from isolet.database.connection import Database
from isolet.database.idempotency import Idempotency, take_key
from isolet.database.jobs import Accepted
from isolet.database.tables.jobs import idempotency_keys
from isolet.domain.jobs import Attempt, Job, JobEvent, JobState, Result, claimed, concluded
from isolet.domain.project_limits import ProjectLimits
from isolet.ids import ProjectId
from isolet.jobs.retention import JobRetention
from tests.integration.jobs.steps import a_step

pytestmark = pytest.mark.anyio
OWNER, AT_MS = "server-1", 1_769_860_800_123


async def ended(database: Database, project: str, *, at_ms: int, body: bytes = b"", target: str = "") -> Job:
    """A job that ran and ended as any does, with that result."""
    job = claimed(replace(a_step("f1", project), target=target), OWNER, at_ms)
    await database.write(stored.accept, [Accepted(job=job)])
    attempt = Attempt(at_ms=at_ms, duration_ms=1)
    after = concluded(job, JobEvent.SUCCEEDED, at_ms, attempt=attempt, result=Result(payload="", body=body))
    await database.write(conclude, [Conclusion(outcome=Outcome(job=after), owner=OWNER, at_ms=at_ms)])
    return job


async def kept(database: Database, *jobs: Job) -> list[bool]:
    return [await database.read(stored.get_light, job.id) is not None for job in jobs]


def retention(database: Database, *, results_mb: int = 1) -> JobRetention:
    return JobRetention(
        database=database,
        clock=SystemClock(),
        retention_ms=10**10,
        limits_of=lambda _: ProjectLimits(results_mb=results_mb),
    )


async def test_the_oldest_results_of_a_project_that_keeps_too_much_go_and_no_others(database: Database) -> None:
    other = await ended(database, "p2", at_ms=AT_MS - 1, body=b"x" * 600_000)
    waiting = a_step("f1", "p1")
    await database.write(stored.accept, [Accepted(job=waiting)])
    jobs = [await ended(database, "p1", at_ms=AT_MS + place, body=b"x" * 400_000) for place in range(4)]

    await retention(database).keep()
    assert await kept(database, *jobs, other, waiting) == [False, False, True, True, True, True]

    later = await ended(database, "p1", at_ms=AT_MS + 9, body=b"x" * 400_000)
    keeping = retention(database)
    await keeping.keep_ended()
    assert await kept(database, *jobs[2:], later) == [True, True, True]
    keeping.ended(later)
    await keeping.keep_ended()
    assert await kept(database, *jobs[2:], later) == [False, True, True]


async def test_a_job_that_was_cancelled_as_it_waited_counts_with_its_body_and_address(database: Database) -> None:
    job = replace(a_step("f1", "p1"), body=b"x" * 500_000, body_bytes=500_000, target="/" + "t" * 50_000)
    await database.write(stored.accept, [Accepted(job=job)])
    assert await database.write(stored.cancel, job.id, AT_MS) is JobState.CANCELLED
    ((project, size),) = await database.read(job_retention.kept_sizes)
    assert (project, size > 550_000) == (ProjectId("p1"), True)


async def test_the_address_of_a_job_counts_among_what_is_kept_of_it(database: Database) -> None:
    await ended(database, "p1", at_ms=AT_MS, target="/" + "t" * 50_000)
    ((_, size),) = await database.read(job_retention.kept_sizes)
    assert size > 50_000


async def test_a_transaction_deletes_few_large_jobs(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "BYTES", 100_000)
    for place in range(3):
        await ended(database, "p1", at_ms=AT_MS + place, body=b"x" * 60_000)
    new = await ended(database, "p1", at_ms=AT_MS + 10)

    counts = [await database.write(job_retention.delete_ended_before, AT_MS + 5) for _ in range(4)]
    assert (counts, await kept(database, new)) == ([1, 1, 1, 0], [True])


async def test_keys_whose_calls_are_gone_go_too(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_retention, "_WINDOW_ROWS", 2)
    kept_job = a_step("f1", "p1")
    await database.write(stored.accept, [Accepted(job=kept_job)])
    for place in range(5):
        wanted = Idempotency(key=f"k{place}", digest=b"d" * 32, expires_at_ms=AT_MS)
        await database.write(take_key, kept_job if place == 3 else a_step("f1", "p1"), wanted=wanted)
    await retention(database).keep()
    rows = await database.read(lambda connection: connection.scalars(select(idempotency_keys.c.key)).all())
    assert list(rows) == ["k3"]


async def test_keys_that_ran_out_are_deleted_some_at_a_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_retention, "ROWS", 2)
    for place in range(4):
        wanted = Idempotency(key=f"k{place}", digest=b"d" * 32, expires_at_ms=AT_MS + (place == 3))
        await database.write(take_key, a_step("f1", "p1"), wanted=wanted)
    assert [await database.write(job_retention.delete_keys, AT_MS) for _ in range(3)] == [2, 1, 0]
