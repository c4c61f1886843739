"""The queue in the store: one suite for SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import update

from isolet.clock import SystemClock
from isolet.database import copies, deliveries, job_retention, leases, steps
from isolet.database import jobs as stored
from isolet.database.conclusions import Conclusion, Outcome, conclude
from isolet.database.connection import Connection, Database
from isolet.database.idempotency import Idempotency, take_key
from isolet.database.jobs import Accepted, Kept
from isolet.database.leases import Claim
from isolet.database.tables.jobs import jobs as job_table
from isolet.domain.body_budget import BodyBudget
from isolet.domain.http_jobs import CALL, CALLBACK, CallPayload, ReplyHead
from isolet.domain.invocations import Door, Kind
from isolet.domain.jobs import HELD_UNTIL_MS, Attempt, Job, JobEvent, JobState, Result, claimed, concluded, lane
from isolet.ids import FunctionId, JobId, ProjectId, new_id
from tests.integration.database.plans import plan_of
from tests.integration.database.rows import AT_MS

OWNER, OTHER = "server-1", "server-2"
CALLED = CallPayload(door=Door.ALTAIR, kind=Kind.ASYNC, method="POST")


def a_job(project: str = "p1", function: str = "f1", **values: Any) -> Job:
    known: dict[str, Any] = {"id": JobId(new_id()), "kind": CALL, "project_id": ProjectId(project)}
    known |= {"function_id": FunctionId(function), "function_name": "hello", "target": "/"}
    known |= {"payload": CALLED.dump()}
    known |= {"lane": lane(ProjectId(project), function), "created_at_ms": AT_MS, "due_at_ms": AT_MS}
    return Job(**{**known, **values})


async def accept(database: Database, *jobs: Job) -> None:
    await database.write(stored.accept, [Accepted(job=job) for job in jobs])


async def claim(
    database: Database, limit: int = 10, *, owner: str = OWNER, room: Mapping[str, int] | None = None, **values: Any
) -> list[Job]:
    rooms = room or {}
    wanted = Claim(
        **{
            "kind": CALL,
            "owner": owner,
            "limit": limit,
            "now_ms": AT_MS,
            "running": {},
            "room": lambda name: rooms.get(name, 100),
            **values,
        }
    )
    (found,) = await database.write(leases.claim, [wanted])
    return found


async def get(database: Database, job: Job) -> Job:
    found = await database.read(stored.get, job.id)
    assert found is not None
    return found


def plain(job: Job) -> Job:
    """Without when its lease ends, which the database's own clock says, and what only says what was read of it."""
    return replace(job, lease_until_ms=None, keeps_result=False)


async def expire(database: Database, *chosen: Job) -> None:
    """Let leases have ended long ago."""

    def work(connection: Connection) -> None:
        ids = [job.id for job in chosen]
        connection.execute(update(job_table).where(job_table.c.id.in_(ids)).values(lease_until_ms=1))

    await database.write(work)


def ended(job: Job, owner: str = OWNER, follow_up: Job | None = None) -> Conclusion:
    outcome = Outcome(job=job, follow_ups=() if follow_up is None else (follow_up,))
    return Conclusion(outcome=outcome, owner=owner, at_ms=AT_MS + 3)


async def end(database: Database, *conclusions: Conclusion) -> list[bool]:
    """Whether the lease of each was owned."""
    return [ended.state is not None for ended in await database.write(conclude, conclusions)]


def succeeded(job: Job) -> Job:
    attempt = Attempt(at_ms=AT_MS, duration_ms=3, status=200)
    result = Result(payload=ReplyHead(status=200, headers=(("x-a", "1"),)).dump(), body=b"\x00\xff")
    return concluded(job, JobEvent.SUCCEEDED, AT_MS + 3, attempt=attempt, result=result)


async def test_a_job_is_kept_whole(database: Database) -> None:
    job = a_job(payload="asked\n\u2028", body=b"\x00\xff", result="given", parent_id=JobId("p"))
    await accept(database, job)
    assert await get(database, job) == job


async def test_a_claim_leases_what_is_due(database: Database) -> None:
    job, later = a_job(), a_job(due_at_ms=AT_MS + 1)
    await accept(database, job, later)

    assert [plain(found) for found in await claim(database)] == [plain(claimed(job, OWNER, AT_MS))]
    assert await claim(database, owner=OTHER) == []
    assert await database.read(stored.next_due_ms, CALL) == AT_MS + 1


async def test_an_end_counts_only_while_the_lease_is_owned(database: Database) -> None:
    job = a_job()
    await accept(database, job)
    (first,) = await claim(database)
    await database.write(leases.requeue, AT_MS, owner=OWNER)
    (second,) = await claim(database)
    assert second.claims == 2

    stale = ended(succeeded(first), follow_up=a_job(kind=CALLBACK, parent_id=job.id))
    foreign = ended(succeeded(second), OTHER)
    assert await end(database, stale, foreign) == [False, False]
    assert await database.read(deliveries.callback_of, job.id) is None
    follow_up = a_job(kind=CALLBACK, parent_id=job.id)
    good = ended(succeeded(second), follow_up=follow_up)
    assert await end(database, good) == [True]

    assert await get(database, job) == succeeded(second)
    told = await database.read(deliveries.callback_of, job.id)
    assert told is not None
    assert plain(told) == follow_up
    assert await end(database, good) == [False]


async def test_a_lease_ends_with_its_time_or_its_owner(database: Database) -> None:
    kept, lost = a_job(), a_job()
    await accept(database, claimed(kept, OWNER, AT_MS), claimed(lost, OTHER, AT_MS))
    await expire(database, kept, lost)
    assert await database.write(leases.heartbeat, OWNER, AT_MS) == {kept.id: False}

    assert await database.write(leases.requeue, AT_MS) == 1

    after = await get(database, lost)
    assert (after.state, after.attempts, after.crashes, after.lease_owner) == (JobState.QUEUED, 0, 1, None)
    assert [attempt.error for attempt in after.history] == ["the server ended while it ran"]
    assert (await get(database, kept)).state is JobState.RUNNING


@pytest.mark.parametrize("skew_ms", [-3_600_000, 3_600_000])
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_leases_go_by_the_databases_clock_whatever_a_server_takes_the_time_for(
    database: Database, skew_ms: int
) -> None:
    at_once, waited, here = a_job(), a_job(), SystemClock().now_ms()
    await accept(database, waited, claimed(at_once, OWNER, here + skew_ms))
    await claim(database, now_ms=here + skew_ms)
    await database.write(leases.heartbeat, OWNER, here + skew_ms)

    for now_ms in (here, here - skew_ms):
        assert await database.write(leases.requeue, now_ms) == 0


async def test_what_was_to_be_cancelled_is_not_queued_again(database: Database) -> None:
    died, retried, handed_back, kept = (claimed(a_job(), OWNER, AT_MS) for _ in range(4))
    chosen = [died, retried, handed_back]
    await accept(database, *chosen, kept)
    for job in chosen:
        assert await database.write(stored.cancel, job.id, AT_MS)

    again = {"attempt": Attempt(at_ms=AT_MS, duration_ms=1), "delay_ms": 60_000}
    conclusions = [
        ended(concluded(retried, JobEvent.RETRIED, AT_MS, **again)),
        ended(concluded(handed_back, JobEvent.HANDED_BACK, AT_MS, **again)),
    ]
    assert await end(database, *conclusions) == [True, True]
    assert await database.write(leases.requeue, AT_MS, ids=[died.id, kept.id]) == 2

    for job in chosen:
        after = await get(database, job)
        assert (after.state, after.lease_owner) == (JobState.CANCELLED, None)
        assert after.finished_at_ms in (AT_MS, AT_MS + 3)
    assert (await get(database, kept)).state is JobState.QUEUED


async def test_a_claim_looks_only_at_lanes_in_which_something_is_due(database: Database) -> None:
    """Retries that wait may be in as many lanes as a project likes."""
    waiting = [a_job(function=f"f{number}", due_at_ms=AT_MS + 1) for number in range(60)]
    due = a_job(function="due")
    await accept(database, *waiting, due, a_job(function="due", due_at_ms=AT_MS + 1))
    asked: list[str] = []

    def room(lane: str) -> int:
        asked.append(lane)
        return 1

    wanted = Claim(kind=CALL, owner=OWNER, limit=10, now_ms=AT_MS, running={}, room=room)
    (found,) = await database.write(leases.claim, [wanted])

    assert [job.id for job in found] == [due.id]
    assert set(asked) == {due.lane}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_lane_may_have_one_place_on_all_servers(database: Database) -> None:
    await accept(database, a_job(), a_job())
    begun, go_on = threading.Event(), threading.Event()

    def take(_project: str, _size: int) -> bool:
        """The transaction of the first server stays open for a while."""
        begun.set()
        return go_on.wait(60)

    claiming = asyncio.ensure_future(claim(database, 1, owner=OWNER, alone=lambda _: True, take=take))
    assert await asyncio.to_thread(begun.wait, 60)
    meanwhile = await claim(database, owner=OTHER, alone=lambda _: True)
    go_on.set()

    assert (len(await claiming), meanwhile) == (1, [])
    assert await claim(database, owner=OTHER, alone=lambda _: True) == [], "the other server has the place"
    assert len(await claim(database, owner=OTHER)) == 1, "other lanes have places on each server"


async def test_a_claim_passes_over_what_is_to_be_cancelled(database: Database) -> None:
    await accept(database, a_job(cancel_requested=True))
    assert await claim(database) == []


async def test_what_a_lost_job_becomes_is_written_with_what_follows(database: Database) -> None:
    lost = claimed(a_job(), OWNER, AT_MS)
    follow_up = a_job(kind=CALLBACK, parent_id=lost.id)
    await accept(database, lost)

    def give_up(job: Job, attempt: Attempt, now_ms: int) -> Outcome:
        return Outcome(job=concluded(job, JobEvent.FAILED, now_ms, attempt=attempt), follow_ups=[follow_up])

    assert await database.write(leases.requeue, AT_MS, ids=[lost.id], lost=give_up) == 1
    assert (await get(database, lost)).state is JobState.FAILED
    assert (await database.read(deliveries.callback_of, lost.id)) is not None


async def test_large_bodies_stay_in_the_store_until_they_are_asked_for(database: Database) -> None:
    small, large = a_job(body=b"s"), a_job(body=b"l" * 100_000, result_body=b"of the try before")
    await accept(database, small, large)

    found = {job.id: job for job in await claim(database)}

    assert (found[small.id].body, found[large.id].body, found[large.id].body_bytes) == (b"s", b"", 100_000)
    assert await database.read(stored.get_body, large.id) == large.body
    # Nor does a try that gave nothing replace what is there.
    again = concluded(found[large.id], JobEvent.HANDED_BACK, AT_MS, attempt=None)
    assert await end(database, ended(again)) == [True]
    after = await get(database, large)
    assert (after.body, after.result_body) == (large.body, large.result_body)


async def test_a_claim_takes_no_more_bytes_than_it_may(database: Database) -> None:
    budget = BodyBudget(1_000_000)
    await accept(database, *(a_job(body=b"b" * 300_000) for _ in range(4)), *(a_job(body=b"s") for _ in range(2)))
    await accept(database, *(a_job("p2", "f2", body=b"b" * 300_000) for _ in range(3)))

    found = await claim(database, take=budget.take)

    assert sorted((job.project_id, job.body_bytes) for job in found) == [("p1", 300_000), ("p2", 300_000)]


async def test_one_projects_backlog_does_not_starve_another(database: Database) -> None:
    await accept(database, *(a_job("p1") for _ in range(20)))
    await accept(database, *(a_job("p2", "f2", due_at_ms=AT_MS) for _ in range(3)))

    found = await claim(database, 6, running={"p1": 1})

    assert sorted(job.project_id for job in found) == ["p1", "p1", "p1", "p2", "p2", "p2"]


async def test_places_that_one_project_does_not_need_go_to_another(database: Database) -> None:
    await accept(database, *(a_job("p1") for _ in range(20)), a_job("p2", "f2"))
    found = await claim(database, 10)
    assert len(found) == 10
    assert len({job.id for job in found}) == 10


async def test_a_full_lane_waits_and_others_go_on(database: Database) -> None:
    await accept(database, *(a_job(function="full") for _ in range(5)), *(a_job(function="free") for _ in range(2)))
    found = await claim(database, room={"p1:full": 1})
    assert sorted(job.function_id for job in found) == ["free", "free", "full"]


async def test_an_idempotency_key_gives_the_first_job(database: Database) -> None:
    def keyed(digest: bytes, at_ms: int = AT_MS) -> Accepted:
        job = a_job(created_at_ms=at_ms)
        wanted = Idempotency(key="k", digest=digest, expires_at_ms=at_ms + 100)
        return Accepted(job=job, admission=partial(take_key, wanted=wanted))

    first, same, other, later = keyed(b"1"), keyed(b"1"), keyed(b"2"), keyed(b"2", AT_MS + 100)

    assert await database.write(stored.accept, [first, same]) == [
        Kept(id=first.job.id),
        Kept(id=first.job.id, new=False),
    ]
    assert await database.write(stored.accept, [other]) == [Kept(id=first.job.id, new=False, same=False)]
    assert await database.write(stored.accept, [later]) == [Kept(id=later.job.id)]
    assert await database.read(stored.get, same.job.id) is None


async def test_what_waits_is_cancelled_and_what_runs_is_asked_to_end(database: Database) -> None:
    waiting, running = a_job(), claimed(a_job(), OWNER, AT_MS)
    await accept(database, waiting, running)
    for job in (waiting, running):
        assert await database.write(stored.cancel, job.id, AT_MS)

    assert (await get(database, waiting)).state is JobState.CANCELLED
    assert not await database.write(stored.cancel, waiting.id, AT_MS)
    assert plain(await get(database, running)) == plain(replace(running, cancel_requested=True))
    assert await database.write(leases.heartbeat, OWNER, AT_MS) == {running.id: True}


async def test_failed_deliveries_are_found_and_queued_again(database: Database) -> None:
    ended = {"state": JobState.FAILED, "finished_at_ms": AT_MS, "kind": CALLBACK, "attempts": 8}
    mine, theirs = a_job(**ended), a_job("p2", **ended)
    await accept(database, mine, theirs, a_job(kind=CALLBACK))

    found = await database.read(deliveries.list_deliveries, ProjectId("p1"), state=JobState.FAILED, limit=10)

    assert [job.id for job in found] == [mine.id]
    assert found[0].keeps_result, "its bodies stay in the store"
    assert await database.write(stored.reopen, [mine.id], AT_MS + 1) == 1
    after = await get(database, mine)
    assert (after.state, after.attempts, after.due_at_ms) == (JobState.QUEUED, 0, AT_MS + 1)
    assert await database.write(stored.reopen, [mine.id], AT_MS + 1) == 0


async def test_the_newest_deliveries_of_all_states_come_first(database: Database) -> None:
    states = [JobState.FAILED, JobState.SUCCEEDED, JobState.FAILED, JobState.QUEUED, JobState.CANCELLED]
    sent = [a_job(kind=CALLBACK, state=state) for state in states]
    await accept(database, *sent, a_job("p2", kind=CALLBACK), a_job())
    list_ = partial(database.read, deliveries.list_deliveries, ProjectId("p1"))

    assert [job.id for job in await list_(limit=3)] == [job.id for job in sent[:1:-1]]
    assert [job.id for job in await list_(limit=9, before=sent[2].id)] == [sent[1].id, sent[0].id]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_no_list_of_deliveries_sorts_all_of_them(database: Database) -> None:
    plan = await plan_of(database, deliveries.list_deliveries, ProjectId("p1"), before=JobId("x"), limit=10)
    searched = "SEARCH jobs USING INDEX jobs_deliveries (project_id=? AND state=? AND id<?)"
    assert plan.count(searched) == len(JobState), plan
    assert "TEMP B-TREE" not in plan, plan
    assert "SCAN jobs" not in plan, plan


@pytest.mark.parametrize("state", [None, JobState.FAILED])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_the_list_of_all_projects_deliveries_ends_at_its_limit(
    database: Database, state: JobState | None
) -> None:
    plan = await plan_of(database, deliveries.list_deliveries, None, state=state, before=JobId("x"), limit=10)
    assert plan == "SEARCH jobs USING INDEX sqlite_autoindex_jobs_1 (id<?)"


async def test_waiting_and_running_jobs_are_counted_and_ended_ones_are_not(database: Database) -> None:
    ended = a_job(state=JobState.FAILED, finished_at_ms=AT_MS)
    waiting = [a_job(), a_job("p2"), a_job(kind=CALLBACK)]
    await accept(database, *waiting, claimed(a_job(), OWNER, AT_MS), ended)

    assert await database.read(stored.count_open) == {
        (CALL, JobState.QUEUED): 2,
        (CALL, JobState.RUNNING): 1,
        (CALLBACK, JobState.QUEUED): 1,
    }


async def test_open_jobs_and_their_bytes_are_counted_by_project_and_kind(database: Database) -> None:
    over = a_job(state=JobState.FAILED, finished_at_ms=AT_MS, body=b"ended")
    told = a_job(kind=CALLBACK, target="/told", payload="12345678", body=b"9")
    waiting = [a_job(payload="1", target="/", body=b"12"), claimed(a_job(payload="", body=b"345"), OWNER, AT_MS)]
    await accept(database, *waiting, a_job("p2", payload=""), told, over)

    found = sorted(await database.read(stored.count_by_project))
    assert found == [("p1", CALL, 2, 8), ("p1", CALLBACK, 1, 14), ("p2", CALL, 1, 1)]


async def test_a_projects_jobs_are_deleted_in_steps_those_that_wait_first(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "BYTES", 1_000)
    waiting = [a_job(body=b"x" * 400) for _ in range(3)]
    ended = a_job(state=JobState.FAILED, finished_at_ms=AT_MS)
    theirs = [a_job("p2") for _ in range(3)]
    await accept(database, ended, *waiting, *theirs)

    async def left() -> list[bool]:
        return [await database.read(stored.get, job.id) is not None for job in (*waiting, ended)]

    assert await database.write(job_retention.delete_of_project, ProjectId("p1")) == 2
    assert sorted(await left()) == [False, False, True, True]
    assert await database.write(job_retention.delete_of_project, ProjectId("p1")) == 1
    assert await left() == [False, False, False, True]
    assert await database.write(job_retention.delete_of_project, ProjectId("p1")) == 1
    assert await database.write(job_retention.delete_of_project, ProjectId("p1")) == 0
    for job in theirs:
        assert await get(database, job) == job


async def test_a_result_is_read_in_parts_and_no_job_with_its_bodies(database: Database) -> None:
    job, empty = a_job(body=b"asked", result_body=bytes(range(256)) * 10), a_job()
    await accept(database, job, empty)

    parts = [await database.read(stored.get_result_part, job.id, start, 1_000) for start in (0, 1_000, 2_000, 3_000)]

    assert [len(part or b"") for part in parts] == [1_000, 1_000, 560, 0]
    assert b"".join(part or b"" for part in parts) == job.result_body
    assert await database.read(stored.get_result_part, empty.id, 0, 10) == b""
    assert await database.read(stored.get_result_part, JobId(new_id()), 0, 10) is None
    light = await database.read(stored.get_light, job.id)
    assert light is not None
    assert (light.id, light.body, light.result_body) == (job.id, b"", b"")
    assert await database.read(stored.get_light, JobId(new_id())) is None


async def test_what_a_copy_held_waits_as_long_as_before_and_retries_come_at_once(database: Database) -> None:
    waiting, delayed, retried = a_job(), a_job(due_at_ms=AT_MS + 50), a_job(due_at_ms=AT_MS + 50, attempts=1)
    earlier = a_job(due_at_ms=HELD_UNTIL_MS)
    await accept(database, waiting, delayed, retried, earlier)

    for _ in range(2):
        await database.write(copies.hold, AT_MS)
        assert all([(await get(database, job)).held for job in (waiting, delayed, retried, earlier)])
        assert await claim(database, now_ms=AT_MS * 2) == []
    assert await database.write(copies.release, AT_MS + 10) == copies.Held(jobs=4)

    due = [(await get(database, job)).due_at_ms - AT_MS for job in (waiting, delayed, retried, earlier)]
    assert due == [0, 50, 10, 10]


async def test_admissions_of_a_transaction_run_in_the_order_of_their_keys(database: Database) -> None:
    seen = []

    def admit(_connection: Connection, job: Job) -> Kept:
        seen.append(job.target)
        return Kept(id=job.id, new=job.target != "b")

    jobs = [a_job(target=name) for name in "cab"]
    kept = await database.write(
        stored.accept, [Accepted(job=job, admission=admit, order=("table", job.target)) for job in jobs]
    )

    assert seen == ["a", "b", "c"]
    assert [(one.id, one.new) for one in kept] == [(jobs[0].id, True), (jobs[1].id, True), (jobs[2].id, False)]
    assert await database.read(stored.get, jobs[2].id) is None


async def test_only_a_delivery_tells_of_a_call(database: Database) -> None:
    call = a_job()
    await accept(database, call, a_job(kind=CALLBACK, parent_id=call.id, target="told"), a_job(parent_id=call.id))
    found = await database.read(deliveries.callback_of, call.id)
    assert found is not None
    assert found.target == "told"
