from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from isolet.database import copies, functions, projects, space_triggers
from isolet.database import jobs as stored_jobs
from isolet.database import schedules as stored
from isolet.database.connection import Database
from isolet.database.due_times import CRON, Dealt, deal
from isolet.domain.cron import read_cron
from isolet.domain.functions import Function
from isolet.domain.schedules import FiringStatus, Policies, Schedule, started
from isolet.domain.space_triggers import SpaceTrigger, SpaceTriggerType
from isolet.domain.triggers import CronTrigger
from isolet.errors import Conflict, LimitReached, NotFound
from isolet.ids import ScheduleId, new_id
from tests.integration.database.rows import AT_MS, a_function, a_project

MINUTE = 60_000
# A whole minute.
BEGIN = AT_MS - AT_MS % MINUTE


@pytest.fixture
async def function(database: Database) -> Function:
    project = a_project()
    await database.write(projects.insert_project, project)
    made = a_function(project, "clock")
    await database.write(functions.insert_function, made)
    return made


async def _schedule(database: Database, function: Function, name: str = "each minute", **policies: Any) -> Schedule:
    made = Schedule(
        id=ScheduleId(new_id()),
        project_id=function.project_id,
        function_id=function.id,
        name=name,
        cron=read_cron("* * * * *"),
        policies=Policies().changed(policies),
        seen_ms=BEGIN,
        created_at_ms=BEGIN,
        updated_at_ms=BEGIN,
    )
    made = started(made, BEGIN)
    await database.write(stored.insert_schedule, made)
    return made


async def _deal(database: Database, schedule: Schedule, after_ms: int, *, since_ms: int | None = None) -> Dealt | None:
    since = BEGIN if since_ms is None else since_ms
    work = partial(deal, schedule_id=schedule.id, now_ms=BEGIN + after_ms, since_ms=since, new_id=new_id)
    return await database.write(work)


async def _firings(database: Database, schedule: Schedule) -> list[tuple[int, str]]:
    found = await database.read(partial(stored.list_firings, schedule_id=schedule.id, limit=500))
    return sorted(((firing.due_ms - BEGIN) // MINUTE, firing.status.value) for firing in found)


async def test_a_due_time_is_dealt_with_once_however_many_look(database: Database, function: Function) -> None:
    schedule = await _schedule(database, function, overlap="allow")
    assert await database.read(stored.due_schedules, BEGIN + MINUTE - 1, 10) == []
    assert await database.read(stored.due_schedules, BEGIN + MINUTE, 10) == [schedule.id]
    dealt = await asyncio.gather(*(_deal(database, schedule, MINUTE + 5) for _ in range(8)))
    (only,) = [one for one in dealt if one is not None]
    assert ([job.kind for job in only.jobs], only.missed, only.late_ms) == ([CRON], 0, 5)
    assert await _firings(database, schedule) == [(1, "queued")]
    after = await database.read(stored.get_schedule, schedule.id)
    assert (after.next_due_ms, after.last_due_ms) == (BEGIN + 2 * MINUTE, BEGIN + MINUTE)
    job = await database.read(stored_jobs.get_light, only.jobs[0].id)
    assert job is not None
    assert (job.function_name, job.lane) == ("clock", f"{function.project_id}:{schedule.id}/allow")
    assert await database.read(stored.next_fire_ms) == BEGIN + 2 * MINUTE


async def test_many_schedules_of_one_project_are_not_before_few_of_another(
    database: Database, function: Function
) -> None:
    other = a_project("other")
    await database.write(projects.insert_project, other)
    theirs = a_function(other)
    await database.write(functions.insert_function, theirs)
    big = [await _schedule(database, function, f"s{place}") for place in range(4)]
    small = await _schedule(database, theirs, "small")
    due = await database.read(stored.due_schedules, BEGIN + MINUTE, 2)
    assert set(due) - {one.id for one in big} == {small.id}
    assert len(await database.read(stored.due_schedules, BEGIN + MINUTE, 10)) == 5

    more = replace(big[0], id=ScheduleId(new_id()), name="more")
    with pytest.raises(LimitReached, match="The project has 4 schedules, which is its limit"):
        await database.write(partial(stored.insert_schedule, schedule=more, most=4))
    await database.write(partial(stored.insert_schedule, schedule=more, most=5))


async def test_what_is_due_of_a_project_with_a_full_queue_is_missed(database: Database, function: Function) -> None:
    schedule = await _schedule(database, function)
    full = frozenset({function.project_id})
    work = partial(deal, schedule_id=schedule.id, now_ms=BEGIN + MINUTE, since_ms=BEGIN, new_id=new_id, full=full)
    dealt = await database.write(work)
    assert dealt is not None
    assert (list(dealt.jobs), dealt.missed, await _firings(database, schedule)) == ([], 1, [(1, "missed")])
    again = await _deal(database, schedule, 2 * MINUTE)
    assert again is not None
    assert (len(again.jobs), again.schedule.missed_total) == (1, 1)


@pytest.mark.parametrize(
    ("missed", "runs", "total"),
    [("one", [200], 199), ("none", [], 200), ("all", list(range(101, 201)), 100)],
)
async def test_a_server_that_was_away_makes_up_by_policy(
    database: Database, function: Function, missed: str, runs: list[int], total: int
) -> None:
    schedule = await _schedule(database, function, missed=missed)
    back_ms = 200 * MINUTE + 30_000
    dealt = await _deal(database, schedule, back_ms, since_ms=BEGIN + back_ms - 10)
    assert dealt is not None
    assert dealt.missed == total
    firings = await _firings(database, schedule)
    assert [minute for minute, status in firings if status == "queued"] == runs
    assert 0 < len([minute for minute, status in firings if status == "missed"]) <= 20
    after = await database.read(stored.get_schedule, schedule.id)
    assert (after.missed_total, after.next_due_ms) == (total, BEGIN + 201 * MINUTE)


async def test_what_overlaps_is_skipped_queued_or_replaced(database: Database, function: Function) -> None:
    for overlap, expected in (
        ("skip", [(1, "queued"), (2, "skipped")]),
        ("queue", [(1, "queued"), (2, "queued")]),
        ("allow", [(1, "queued"), (2, "queued")]),
        ("replace", [(1, "failed"), (2, "queued")]),
    ):
        schedule = await _schedule(database, function, overlap, overlap=overlap)
        first = await _deal(database, schedule, MINUTE)
        second = await _deal(database, schedule, 2 * MINUTE)
        assert first is not None
        assert second is not None
        assert await _firings(database, schedule) == expected
        assert list(second.cancelled) == ([first.jobs[0].id] if overlap == "replace" else [])


async def test_jitter_moves_every_firing_alike(database: Database, function: Function) -> None:
    schedule = await _schedule(database, function, jitter_s=50)
    offset = schedule.jitter_ms
    assert 0 <= offset < 50_000
    assert await _deal(database, schedule, MINUTE + offset - 1) is None
    dealt = await _deal(database, schedule, MINUTE + offset)
    assert dealt is not None
    assert (len(dealt.jobs), dealt.missed, dealt.late_ms) == (1, 0, 0)


async def test_a_copy_fires_no_schedule_of_the_original_until_told_or_changed(
    database: Database, function: Function
) -> None:
    first, changed, paused = [await _schedule(database, function, name) for name in ("first", "changed", "paused")]
    await database.write(stored.write_schedule, replace(paused, enabled=False, next_due_ms=None))
    for _ in range(2):
        await database.write(copies.hold, BEGIN)
        assert await database.read(copies.count_held) == copies.Held(schedules=2)
        assert await database.read(stored.due_schedules, BEGIN + 999 * MINUTE, 10) == []
    # Who changes it there wants it to run there.
    await database.write(stored.write_schedule, changed)
    assert await database.read(stored.due_schedules, BEGIN + MINUTE, 10) == [changed.id]
    assert await database.write(copies.release, BEGIN) == copies.Held(schedules=1)
    assert await database.read(stored.due_schedules, BEGIN + MINUTE - 1, 10) == []
    assert set(await database.read(stored.due_schedules, BEGIN + MINUTE, 10)) == {first.id, changed.id}


async def test_a_paused_or_deleted_schedule_fires_no_more(database: Database, function: Function) -> None:
    schedule = await _schedule(database, function)
    await database.write(stored.write_schedule, replace(schedule, enabled=False))
    assert await _deal(database, schedule, MINUTE) is None
    await database.write(stored.delete_schedule, schedule.id)
    assert await _deal(database, schedule, MINUTE) is None
    with pytest.raises(NotFound):
        await database.read(stored.get_schedule, schedule.id)


async def test_names_are_of_one_function(database: Database, function: Function) -> None:
    await _schedule(database, function)
    with pytest.raises(Conflict):
        await _schedule(database, function)


async def test_a_cron_trigger_is_written_with_its_function(database: Database, function: Function) -> None:
    async def shown() -> list[tuple[str, bool, int | None]]:
        found = await database.read(partial(stored.list_schedules, function_id=function.id))
        return [(one.cron.text, one.enabled, one.next_due_ms) for one in found]

    changed = replace(function, triggers=(CronTrigger(schedule="0 * * * *"),))
    await database.write(functions.replace_function, changed)
    ((text, enabled, next_ms),) = await shown()
    assert (text, enabled) == ("0 * * * *", True)
    # Another write of the function changes nothing.
    await database.write(functions.replace_function, replace(changed, updated_at_ms=AT_MS + 7_200_000))
    assert await shown() == [(text, enabled, next_ms)]
    await database.write(
        functions.replace_function, replace(changed, triggers=(CronTrigger(schedule="0 * * * *", enabled=False),))
    )
    assert await shown() == [("0 * * * *", False, None)]
    await database.write(functions.replace_function, replace(changed, triggers=()))
    assert await shown() == []


async def test_only_some_firings_are_kept(database: Database, function: Function, monkeypatch: Any) -> None:
    monkeypatch.setattr(stored, "FIRINGS_KEPT", 3)
    schedule = await _schedule(database, function, overlap="allow")
    for minute in range(1, 7):
        dealt = await _deal(database, schedule, minute * MINUTE)
        assert dealt is not None
        await database.write(partial(_end, firing_id=dealt.jobs[0].id))
    assert len(await _firings(database, schedule)) <= 4


def _end(connection: Any, firing_id: Any) -> None:
    stored.change_firing(connection, firing_id, status=FiringStatus.SUCCEEDED.value)


async def test_a_trigger_of_a_project_switches_all_schedules_of_its_functions_settings(
    database: Database, function: Function
) -> None:
    other = a_project("other")
    await database.write(projects.insert_project, other)
    settings = {"options": {"schedule": "0 * * * *"}}
    own = [a_function(other, slug, door_settings=settings) for slug in ("a", "b")]
    plain = a_function(other, "plain", door_settings={"options": {"other": "schedule"}})
    theirs = replace(function, door_settings=settings)
    for made in (*own, plain):
        await database.write(functions.insert_function, made)
    await database.write(functions.replace_function, theirs)
    # One that was stored before there were schedules.
    (old,) = (await database.read(stored.of_functions, [own[1].id]))[own[1].id]
    await database.write(stored.delete_schedule, old.id)

    async def enabled() -> list[bool | None]:
        found = await database.read(stored.of_functions, [own[0].id, own[1].id, plain.id, theirs.id])
        return [next((one.enabled for one in found.get(made.id, ())), None) for made in (*own, plain, theirs)]

    assert await enabled() == [False, None, None, False]
    trigger = SpaceTrigger(
        id=new_id(), project_id=other.id, type=SpaceTriggerType.CRON, description="", config={}, created_at_ms=BEGIN
    )
    await database.write(partial(space_triggers.put_trigger, trigger=trigger, new=True, now_ms=BEGIN))
    assert await enabled() == [True, True, None, False]
    (one,) = (await database.read(stored.of_functions, [own[0].id]))[own[0].id]
    assert one.next_due_ms is not None
    await database.write(space_triggers.delete_trigger, other.id, trigger.id, BEGIN)
    assert await enabled() == [False, False, None, False]


async def test_a_space_has_no_more_triggers_than_it_may_when_many_are_made_at_once(
    database: Database, function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space_triggers, "TRIGGERS_MAX", 3)
    empty = SpaceTrigger(
        id="",
        project_id=function.project_id,
        type=SpaceTriggerType.CRON,
        description="",
        config={},
        created_at_ms=BEGIN,
    )
    made = [
        partial(space_triggers.put_trigger, trigger=replace(empty, id=new_id()), new=True, now_ms=BEGIN)
        for _ in range(12)
    ]
    results = await asyncio.gather(*(database.write(one) for one in made), return_exceptions=True)
    assert [type(result) for result in results if result is not None] == [LimitReached] * 9
