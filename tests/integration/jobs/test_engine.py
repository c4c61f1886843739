"""The engine with a kind that it does not know: what a kind may join, race, delay, cancel and lose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace
from sqlalchemy import Engine as SqlEngine
from sqlalchemy import event, func, select, update
from structlog.testing import capture_logs

from isolet.clock import Clock
from isolet.database import jobs as stored
from isolet.database.conclusions import Outcome
from isolet.database.connection import Connection, Database
from isolet.database.tables.jobs import jobs as job_table
from isolet.domain.jobs import Job, JobKind, JobState, claimed, lane
from isolet.domain.project_limits import ProjectLimits
from isolet.errors import TooManyRequests
from isolet.ids import JobId, ProjectId
from isolet.jobs import leases
from isolet.jobs.calls import Calls
from isolet.jobs.engine import Engine
from isolet.jobs.kinds import Kinds
from isolet.jobs.leases import Leases
from isolet.routing.routes import Routes
from isolet.tasks import Tasks
from tests.integration.jobs.steps import CLOCK, STEP, Steps, a_step, create_tables, fire_once, firings, flow_of
from tests.integration.jobs.steps import set_state as set_flow
from tests.support.clock import SetClock

FLOW = "flow-1"


@pytest.fixture
async def tables(database: Database) -> None:
    await database.write(create_tables, FLOW, "flow-2")


@asynccontextmanager
async def running(
    database: Database,
    steps: Steps,
    *,
    owner: str = "s1",
    queued: int = 1_000,
    clock: Clock = CLOCK,
    follows: bool = False,
) -> AsyncIterator[Engine]:
    engine = Engine(
        database=database,
        clock=clock,
        owner=owner,
        retention_ms=3_600_000,
        limits_of=lambda _project: ProjectLimits(queued_calls=queued, queued_mb=1),
        memory_bytes=10_000_000,
        crash_limit=3,
    )
    engine.register(STEP, steps, capacity=8, follows=follows)
    loops = Tasks()
    await engine.start(loops)
    try:
        yield engine
    finally:
        await engine.drain(0)
        await loops.close()


async def state_of(database: Database, job_id: JobId) -> JobState:
    found = await database.read(stored.get, job_id)
    assert found is not None
    return found.state


async def ended(database: Database, job_id: JobId, *, poll_s: float = 0.01) -> Job:
    async with asyncio.timeout(30):
        while True:
            found = await database.read(stored.get, job_id)
            assert found is not None
            if found.state.ended:
                return found
            await asyncio.sleep(poll_s)


async def all_ended(database: Database, jobs: int) -> Sequence[tuple[JobId, JobState, str]]:
    """Id, state and lane of that many jobs, once they have ended and no other is there."""

    def read(connection: Connection) -> list[tuple[JobId, JobState, str]]:
        rows = connection.execute(select(job_table.c.id, job_table.c.state, job_table.c.lane))
        return [(JobId(row.id), JobState(row.state), row.lane) for row in rows]

    async with asyncio.timeout(30):
        while True:
            found = await database.read(read)
            if len(found) == jobs and all(state.ended for _, state, _ in found):
                return found
            await asyncio.sleep(0.01)


async def started(steps: Steps, tries: int) -> None:
    async with asyncio.timeout(30):
        while len(steps.started) < tries:
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize("how", ["follows", "adds"])
async def test_a_step_moves_its_row_on_and_three_jobs_follow_in_one_transaction(database: Database, how: str) -> None:
    steps = Steps()
    async with running(database, steps) as engine:
        await engine.submit(a_step(FLOW, **{how: 3}))
        found = await all_ended(database, 4)

    assert {(state, lane) for _, state, lane in found} == {(JobState.SUCCEEDED, f"p1:{FLOW}")}
    assert await database.read(flow_of, FLOW) == (4, "open")
    assert steps.most_at_once == 1, "its lane takes one at a time"
    assert steps.accounts == {"p1"}, "what it asks of threads is its project's"
    assert engine.backlog.room("p1") == 1_000


@pytest.mark.usefixtures("tables")
async def test_a_join_that_refuses_leaves_nothing_of_the_outcome(database: Database) -> None:
    await database.write(set_flow, FLOW, "closed")
    async with running(database, Steps()) as engine:
        job = a_step(FLOW, adds=3, follows=3)
        await engine.submit(job)
        after = await ended(database, job.id)
        other = a_step("flow-2")
        await engine.submit(other)
        assert (await ended(database, other.id)).result == "stepped"

    assert (after.state, after.error, after.result) == (JobState.FAILED, "the flow is closed", "")
    assert await database.read(flow_of, FLOW) == (0, "failed")
    assert len(await all_ended(database, 2)) == 2


@pytest.mark.usefixtures("tables")
async def test_a_fault_in_a_join_fails_its_job_and_no_other_of_its_batch(database: Database) -> None:
    steps = Steps()
    async with running(database, steps) as engine:
        broken, good = a_step(FLOW, breaks=True, waits=True), a_step("flow-2", waits=True)
        await asyncio.gather(engine.submit(broken), engine.submit(good))
        await started(steps, 2)
        steps.go.set()
        after, other = await ended(database, broken.id), await ended(database, good.id)

    assert (after.state, after.error, other.state) == (JobState.FAILED, "internal error", JobState.SUCCEEDED)
    assert await database.read(flow_of, FLOW) == (0, "failed")
    assert await database.read(flow_of, "flow-2") == (1, "open")


class Losing(Steps):
    """The connection to the database breaks in the first join."""

    async def run(self, job: Job) -> Outcome:
        outcome = await super().run(job)
        first, join = len(self.started) == 1, outcome.join

        def lose(connection: Connection, after: Job) -> Sequence[Job]:
            nonlocal first
            if first:
                first = False
                connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")
            return () if join is None else join(connection, after)

        return replace(outcome, join=lose)


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_connection_that_breaks_in_a_join_is_no_fault_of_its_job(database: Database) -> None:
    steps = Losing()
    async with running(database, steps) as engine:
        job = a_step(FLOW)
        await engine.submit(job)
        after = await ended(database, job.id)

    assert (after.state, after.error, len(steps.started)) == (JobState.SUCCEEDED, None, 1)
    assert await database.read(flow_of, FLOW) == (1, "open")


@pytest.mark.usefixtures("tables")
async def test_two_engines_that_fire_the_same_schedules_keep_each_firing_once(
    database: Database, database_url: str
) -> None:
    other_database = Database(database_url)
    await other_database.open()
    names = [f"schedule-{n}" for n in range(20)]

    async def fire(engine: Engine, name: str) -> tuple[str, bool, JobId]:
        job = a_step(FLOW)
        admission = partial(fire_once, schedule_id=name, due_ms=60_000)
        kept = await engine.submit(job, admission, order=("test_firings", name))
        assert (kept.id == job.id) is kept.new
        return name, kept.new, kept.id

    with capture_logs() as logs:
        async with running(database, Steps()) as one, running(other_database, Steps(), owner="s2") as two:
            fired = await asyncio.gather(
                *(fire(one, name) for name in names), *(fire(two, name) for name in reversed(names))
            )
            await all_ended(database, len(names))
    await other_database.close()

    winners = {name: job_id for name, new, job_id in fired if new}
    assert len([1 for _, new, _ in fired if new]) == len(winners) == len(names)
    assert {(name, job_id) for name, _, job_id in fired} == set(winners.items())
    assert [entry for entry in logs if entry["log_level"] in ("warning", "error")] == []
    assert await database.read(flow_of, FLOW) == (len(names), "open")


@pytest.mark.usefixtures("tables")
async def test_an_answer_after_the_lease_was_lost_moves_nothing_on(database: Database, database_url: str) -> None:
    other_database = Database(database_url)
    await other_database.open()
    late, next_server = Steps(), Steps()
    job = a_step(FLOW, waits=True, adds=3)
    async with running(database, late) as engine:
        await engine.submit(job)
        await started(late, 1)
        lost = update(job_table).values(lease_until_ms=1)
        await database.write(lambda connection: connection.execute(lost) and None)
        async with running(other_database, next_server, owner="s2"):
            await started(next_server, 1)
            late.go.set()
            await engine.drain(20)
            assert await state_of(database, job.id) is JobState.RUNNING
            assert await database.read(flow_of, FLOW) == (0, "open")
            next_server.go.set()
            await all_ended(database, 4)
    await other_database.close()

    assert len(await all_ended(database, 4)) == 4
    assert await database.read(flow_of, FLOW) == (4, "open")
    after = await ended(database, job.id)
    assert (after.claims, after.attempts, after.crashes) == (2, 1, 0)


@pytest.mark.usefixtures("tables")
async def test_a_delayed_job_waits_until_it_is_due_and_others_overtake_it(database: Database) -> None:
    steps, transactions = Steps(), 0

    def count(_connection: Connection) -> None:
        nonlocal transactions
        transactions += 1

    async with running(database, steps) as engine:
        delayed, at_once = a_step(FLOW, delay_ms=1_000), a_step(FLOW)
        await engine.submit(delayed)
        assert await state_of(database, delayed.id) is JobState.QUEUED
        await engine.submit(at_once)
        first, behind = a_step("flow-2", waits=True), a_step("flow-2")
        await engine.submit(first)
        await engine.submit(behind)
        event.listen(SqlEngine, "begin", count)
        await ended(database, delayed.id, poll_s=0.2)
        event.remove(SqlEngine, "begin", count)
        steps.go.set()
        await all_ended(database, 4)

    assert [job_id for job_id, _ in steps.started] == [at_once.id, first.id, delayed.id, behind.id]
    assert steps.started[2][1] >= delayed.due_at_ms
    # A job whose lane is full waits for an end of another one: nobody asks for it a hundred times a second.
    assert transactions < 50


@pytest.mark.usefixtures("tables")
async def test_a_try_that_fails_is_repeated_after_the_delay_that_its_kind_says(database: Database) -> None:
    steps = Steps()
    async with running(database, steps) as engine:
        job = a_step(FLOW, fails=2)
        await engine.submit(job)
        after = await ended(database, job.id)

    assert (after.state, after.attempts, len(after.history)) == (JobState.SUCCEEDED, 3, 3)
    assert await database.read(flow_of, FLOW) == (1, "open")


@pytest.mark.usefixtures("tables")
async def test_a_firing_ends_the_one_before_in_its_own_transaction(database: Database) -> None:
    steps = Steps()
    async with running(database, steps) as engine:
        before, after = a_step(FLOW, waits=True), a_step("flow-2")
        waiting = a_step(FLOW)
        for number, (job, instead_of) in enumerate([(before, ()), (waiting, ()), (after, (before.id, waiting.id))]):
            admission = partial(fire_once, schedule_id="s", due_ms=number, instead_of=instead_of)
            await engine.submit(job, admission)
            await started(steps, 1)
        # At once, and not with the next look at what was cancelled elsewhere.
        await asyncio.sleep(0)
        assert steps.cut == [before.id]
        states = [(await ended(database, job.id)).state for job in (before, waiting, after)]

    assert states == [JobState.CANCELLED, JobState.CANCELLED, JobState.SUCCEEDED]
    assert await database.read(flow_of, FLOW) == (0, "cancelled")


@pytest.mark.usefixtures("tables")
async def test_what_is_cancelled_while_it_waits_takes_its_row_with_it(database: Database) -> None:
    def close(connection: Connection, state: JobState) -> None:
        set_flow(connection, FLOW, state.value)

    async with running(database, Steps(), queued=1) as engine:
        job = a_step(FLOW, delay_ms=3_600_000)
        await engine.submit(job)
        assert await engine.cancel(job, close) is JobState.CANCELLED
        assert await database.read(flow_of, FLOW) == (0, "cancelled")
        await database.write(set_flow, FLOW, "as before")
        assert await engine.cancel(job, close) is None
        assert engine.backlog.room("p1") == 1

    assert await database.read(flow_of, FLOW) == (0, "as before")


@pytest.mark.usefixtures("tables")
async def test_a_job_over_the_budget_of_its_project_writes_no_row(database: Database) -> None:
    async with running(database, Steps(), queued=1) as engine:
        await engine.submit(a_step(FLOW, delay_ms=3_600_000))
        with pytest.raises(TooManyRequests):
            await engine.submit(a_step(FLOW), partial(fire_once, schedule_id="s", due_ms=1))
        assert engine.backlog.full() == {"p1"}
        with pytest.raises(TooManyRequests, match="queued_calls"), engine.backlog.reserved(ProjectId("p1"), 1):
            pass
        with engine.backlog.reserved(ProjectId("p2"), 1), pytest.raises(TooManyRequests):
            await engine.submit(a_step(FLOW, "p2"))
        await engine.submit(a_step(FLOW, "p2"))

    count = select(func.count()).select_from(firings)
    assert await database.read(lambda connection: connection.execute(count).scalar_one()) == 0


async def test_a_project_is_held_back_while_what_follows_from_its_jobs_takes_more_than_may_wait(
    database: Database,
) -> None:
    kept, joined = (a_step(FLOW, delay_ms=3_600_000, body_bytes=700_000) for _ in range(2))
    await database.write(stored.insert_jobs, [kept, replace(kept, id=JobId("other"), project_id=ProjectId("p2"))])
    held = ProjectId("p1")
    async with running(database, Steps(), follows=True) as engine:
        assert not engine.backlog.is_held_back(held)
        engine.joined([joined])
        assert engine.backlog.is_held_back(held)
        assert not engine.backlog.is_held_back(ProjectId("p2"))
        await database.write(stored.insert_jobs, [joined])
    async with running(database, Steps()) as engine:
        assert not engine.backlog.is_held_back(held)
    async with running(database, Steps(), follows=True) as engine:
        assert engine.backlog.is_held_back(held)
        await engine.cancel(kept)
        assert not engine.backlog.is_held_back(held)


def test_no_call_of_a_project_that_is_held_back_begins() -> None:
    routes = Routes("root-key")
    nothing = cast(Any, None)
    calls = Calls(
        routes=routes, find=nothing, invoker=nothing, clock=CLOCK, tell=nothing, is_held_back=lambda one: one == "p1"
    )
    assert [calls.lane_limit(lane(ProjectId(project), "f1")) for project in ("p1", "p2")] == [0, 1]


@pytest.mark.usefixtures("tables")
async def test_a_job_of_a_kind_that_is_not_registered_here_waits_for_a_server_that_knows_it(
    database: Database,
) -> None:
    foreign = Job(**{**_members(a_step(FLOW)), "kind": JobKind("other"), "lane": "p1:x"})
    async with running(database, Steps()) as engine:
        await engine.submit(foreign)
        mine = a_step(FLOW)
        await engine.submit(mine)
        await ended(database, mine.id)
        assert (await engine.counts.read())[JobKind("other"), JobState.QUEUED] == 1
        with pytest.raises(ValueError, match="nobody registered it"):
            await engine.submit(Job(**{**_members(foreign), "lane": ""}))

    assert await state_of(database, foreign.id) is JobState.QUEUED


async def test_a_name_is_registered_once(database: Database) -> None:
    async with running(database, Steps()) as engine:
        for name in (STEP, JobKind("x" * 21), JobKind("")):
            with pytest.raises(ValueError, match="cannot register"):
                engine.register(name, Steps(), capacity=1)


def _members(job: Job) -> dict[str, object]:
    return {name: getattr(job, name) for name in Job.__slots__}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_after_a_while_without_the_store_other_servers_have_time_to_lengthen_their_leases(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1_000.0
    monkeypatch.setattr(leases, "monotonic", lambda: now_s)
    job = claimed(a_step(FLOW), "s1", CLOCK.now_ms())
    await database.write(stored.accept, [stored.Accepted(job=job)])
    await database.write(run_out, job.id)
    other = Leases(database=database, clock=CLOCK, owner="s2", kinds=Kinds(), crash_limit=3)

    for away_s, takes in ((20.0, False), (5.0, False), (5.0, True)):
        now_s += away_s
        await other.beat()
        assert (await state_of(database, job.id) is JobState.QUEUED) is takes


def run_out(connection: Connection, job_id: JobId) -> None:
    connection.execute(update(job_table).where(job_table.c.id == job_id).values(lease_until_ms=1))


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_what_waits_as_the_clock_is_set_back_waits_no_longer(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isolet.jobs.engine.HEARTBEAT_S", 0.01)
    clock = SetClock(tmp_path)
    async with running(database, Steps(), clock=clock) as engine:
        job = a_step(FLOW, delay_ms=7_200_000)
        await engine.submit(job)
        clock.step(-3_600_000)
        moved_ms = 0
        async with asyncio.timeout(30):
            while not moved_ms:
                await asyncio.sleep(0.01)
                found = await database.read(stored.get, job.id)
                assert found is not None
                moved_ms = job.due_at_ms - found.due_at_ms
    assert 3_500_000 < moved_ms < 3_700_000
