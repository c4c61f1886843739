"""A worker over a real queue: what it does when the store will not, or cannot, take how a job ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from isolet.clock import SystemClock
from isolet.database import jobs as stored
from isolet.database.conclusions import Outcome
from isolet.database.connection import Connection, Database
from isolet.domain.body_budget import BodyBudget
from isolet.domain.http_jobs import CALL, CALLBACK
from isolet.domain.jobs import Attempt, Job, JobEvent, JobState, Result, concluded
from isolet.domain.project_limits import ProjectLimits
from isolet.errors import StoreError, StoreRefused
from isolet.ids import JobId, new_id
from isolet.jobs.backlog import Backlog
from isolet.jobs.handler import Handler
from isolet.jobs.kinds import Kinds
from isolet.jobs.worker import Worker
from isolet.jobs.writes import Writes
from isolet.tasks import Tasks
from tests.integration.database.test_jobs import a_job

# What PostgreSQL answers when it has no room for one row, and has for others.
_NO_ROOM = """
    CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = '53100'; END$$;
    CREATE TRIGGER no_room BEFORE UPDATE ON jobs FOR EACH ROW
    WHEN (NEW.error = 'held up' AND NEW.state <> 'running') EXECUTE FUNCTION no_room();
"""


class Scripted(Handler):
    """Runs jobs as the test says; `seen` are the bodies that they came with."""

    def __init__(self, outcome: Callable[[Job], Outcome]) -> None:
        self.outcome = outcome
        self.seen: list[bytes] = []

    def lane(self, job: Job) -> str:
        return job.function_id

    def lane_limit(self, lane: str) -> int:
        return 10

    async def run(self, job: Job) -> Outcome:
        self.seen.append(job.body)
        return self.outcome(job)


def ended(job: Job, error: str | None = None) -> Job:
    event = JobEvent.SUCCEEDED if error is None else JobEvent.FAILED
    attempt = Attempt(at_ms=1, duration_ms=1, status=200, error=error)
    return concluded(job, event, 2, attempt=attempt, result=Result(payload="given", body=b"done"))


@asynccontextmanager
async def working(database: Database, handler: Scripted, *, bytes_: int = 1_000_000) -> AsyncIterator[Worker]:
    writes, loops = Writes(database), Tasks()
    worker = Worker(
        CALL,
        owner="me",
        writes=writes,
        database=database,
        clock=SystemClock(),
        capacity=1,
        bodies=BodyBudget(bytes_),
        backlog=Backlog(database, lambda _project: ProjectLimits()),
        handler=handler,
        kinds=Kinds(),
    )
    loops.loop(writes.run(), name="writes")
    loops.loop(worker.run(), name="worker")
    try:
        yield worker
    finally:
        await loops.close()


async def keep(database: Database, worker: Worker, *jobs: Job) -> None:
    await database.write(stored.accept, [stored.Accepted(job=job) for job in jobs])
    worker.wake()


async def settled(database: Database, job: Job) -> Job:
    async with asyncio.timeout(20):
        while True:
            found = await database.read(stored.get, job.id)
            assert found is not None
            if found.state.ended:
                return found
            await asyncio.sleep(0.02)


async def test_an_outcome_that_the_store_refuses_ends_the_job_in_plain_words(database: Database) -> None:
    def outcome(job: Job) -> Outcome:
        return Outcome(job=ended(job), follow_ups=[a_job(kind=CALLBACK, parent_id=job.id, function_name="b\ud800")])

    job = a_job()
    async with working(database, Scripted(outcome)) as worker:
        await keep(database, worker, job)
        after = await settled(database, job)

    assert (after.state, after.error, after.result_body) == (JobState.FAILED, "internal error", b"")


async def test_one_outcome_that_is_refused_leaves_the_others_of_its_batch(database: Database) -> None:
    writes, loops = Writes(database), Tasks()
    good, bad = [a_job() for _ in range(20)], a_job(function_name="b\0\ud800")
    submitted = [writes.submit(stored.accept, stored.Accepted(job=job)) for job in [*good[:10], bad, *good[10:]]]
    loops.loop(writes.run(), name="writes")

    results = await asyncio.gather(*submitted, return_exceptions=True)

    assert [isinstance(result, Exception) for result in results] == [False] * 10 + [True] + [False] * 10
    for job in good:
        assert await database.read(stored.get, job.id) == job
    await loops.close()


async def test_a_fault_in_the_code_of_a_write_fails_that_write_alone(database: Database) -> None:
    def breaks(_connection: Connection, items: object) -> list[object]:
        raise KeyError("a fault of ours")

    writes, loops = Writes(database), Tasks()
    job = a_job()
    faulty, good = writes.submit(breaks, 1), writes.submit(stored.accept, stored.Accepted(job=job))
    loops.loop(writes.run(), name="writes")

    results = await asyncio.gather(faulty, good, return_exceptions=True)

    assert [isinstance(result, Exception) for result in results] == [True, False]
    assert await database.read(stored.get, job.id) == job
    await loops.close()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_an_outcome_that_cannot_be_written_now_waits_without_a_place(database: Database) -> None:
    def outcome(job: Job) -> Outcome:
        return Outcome(job=ended(job, job.body.decode() or None))

    held_up, other = a_job(body=b"held up"), a_job("p2", "f2")
    await database.write(lambda connection: connection.exec_driver_sql(_NO_ROOM))
    runner = Scripted(outcome)
    async with working(database, runner) as worker:
        await keep(database, worker, held_up)
        while not runner.seen:
            await asyncio.sleep(0.01)
        await keep(database, worker, other)
        assert (await settled(database, other)).state is JobState.SUCCEEDED
        assert worker.running == {held_up.id}

        await database.write(lambda connection: connection.exec_driver_sql("DROP TRIGGER no_room ON jobs"))
        assert (await settled(database, held_up)).error == "held up"

    assert runner.seen == [b"held up", b""]


async def test_a_fault_of_ours_fails_the_call(database: Database) -> None:
    def outcome(job: Job) -> Outcome:
        raise ZeroDivisionError

    job = a_job()
    async with working(database, Scripted(outcome)) as worker:
        await keep(database, worker, job)
        assert (await settled(database, job)).error == "internal error"


async def test_a_try_that_could_not_use_the_store_does_not_count(database: Database) -> None:
    def outcome(job: Job) -> Outcome:
        if len(runner.seen) < 3:
            raise StoreError("the database is away")
        return Outcome(job=ended(job))

    job, runner = a_job(), Scripted(outcome)
    async with working(database, runner) as worker:
        await keep(database, worker, job)
        after = await settled(database, job)

    assert (after.state, after.attempts, len(after.history)) == (JobState.SUCCEEDED, 1, 1)


async def test_a_try_whose_question_the_store_refuses_fails(database: Database) -> None:
    def outcome(job: Job) -> Outcome:
        raise StoreRefused("no such number")

    job, runner = a_job(), Scripted(outcome)
    async with working(database, runner) as worker:
        await keep(database, worker, job)
        assert (await settled(database, job)).error == "internal error"
    assert len(runner.seen) == 1


async def test_large_bodies_are_loaded_when_their_job_starts(database: Database) -> None:
    def outcome(job: Job) -> Outcome:
        return Outcome(job=ended(job))

    jobs = [a_job(id=JobId(new_id()), body=bytes([65 + n]) * 400_000) for n in range(4)]
    runner = Scripted(outcome)
    async with working(database, runner) as worker:
        await keep(database, worker, *jobs)
        for job in jobs:
            after = await settled(database, job)
            assert (after.body, after.result_body) == (job.body, b"done")

    assert sorted(runner.seen) == [job.body for job in jobs]


async def test_a_new_job_whose_body_does_not_fit_waits_in_the_store(database: Database) -> None:
    async with working(database, Scripted(lambda job: Outcome(job=ended(job))), bytes_=1_000_000) as worker:

        def takes(body: bytes) -> bool:
            reserved = worker.reserve(a_job(body=body))
            worker.dropped(reserved)
            return reserved.state is JobState.RUNNING

        async with asyncio.timeout(20):
            # Until it has looked, and seen that nothing waits.
            while not takes(b"b" * 200_000):
                await asyncio.sleep(0.02)
        worker._places.bodies.add("p1", 400_000)
        assert (takes(b"b" * 200_000), takes(b"s")) == (False, True)


async def test_a_new_job_that_is_not_due_takes_no_place(database: Database) -> None:
    async with working(database, Scripted(lambda job: Outcome(job=ended(job)))) as worker:

        def takes(due_at_ms: int) -> bool:
            reserved = worker.reserve(a_job(due_at_ms=due_at_ms))
            worker.dropped(reserved)
            return reserved.state is JobState.RUNNING

        async with asyncio.timeout(20):
            while not takes(0):
                await asyncio.sleep(0.02)
        assert (takes(SystemClock().now_ms() + 3_600_000), takes(0)) == (False, True)
