"""What a project's records may take, on both databases."""

import asyncio
from functools import partial

from isolet.database import functions, projects, schedules
from isolet.database import invocations as stored
from isolet.database.connection import Database
from isolet.database.metrics import insert_ended
from isolet.domain.invocations import ConsoleLine
from isolet.domain.schedules import FiringStatus
from isolet.ids import FunctionId, InvocationId, ProjectId
from isolet.observe.retention import Retention
from isolet.tasks import Tasks
from tests.integration.database.rows import AT_MS, a_firing, a_function, a_project, a_schedule, an_invocation

LARGE, SMALL = a_function(a_project()), a_function(a_project(slug="small"))
BODY = b"x" * 16_000


class Then:
    """Soon after the records were made."""

    def now_ms(self) -> int:
        return AT_MS + 1000


async def ids(database: Database, function_id: FunctionId) -> list[InvocationId]:
    return [call.id for call in await database.read(stored.list_log, function_id, limit=10_000)]


async def fill(database: Database, count: int = 40) -> list[InvocationId]:
    calls = [an_invocation(LARGE, response_body=BODY) for _ in range(count)]
    await database.write(insert_ended, calls)
    await database.write(insert_ended, [an_invocation(SMALL) for _ in range(5)])
    return [call.id for call in reversed(calls)]


async def test_the_oldest_records_go_when_a_project_has_too_many_bytes(database: Database) -> None:
    made = await fill(database)
    retention = Retention(database, Then(), days=30, rows=1_000, max_bytes=lambda _: 10 * len(BODY) + 10_000)
    await retention.sweep()
    assert await ids(database, LARGE.id) == made[:10]
    assert len(await ids(database, SMALL.id)) == 5
    await retention.sweep()
    assert await ids(database, LARGE.id) == made[:10]


class MuchLater:
    def now_ms(self) -> int:
        return 2**42


async def test_firings_of_schedules_go_with_the_records(database: Database) -> None:
    project = a_project()
    function = a_function(project)
    schedule = a_schedule(function)
    await database.write(projects.insert_project, project)
    await database.write(functions.insert_function, function)
    await database.write(schedules.insert_schedule, schedule)
    for place, status in enumerate((FiringStatus.FAILED, FiringStatus.RUNNING)):
        await database.write(schedules.insert_firing, a_firing(schedule, place, status))
    for clock, left in ((Then(), 2), (MuchLater(), 1)):
        await Retention(database, clock, days=30, rows=1_000).sweep()
        found = await database.read(partial(schedules.list_firings, schedule_id=schedule.id, limit=10))
        assert len(found) == left


async def test_each_project_has_what_it_was_given(database: Database) -> None:
    await fill(database)
    given = {LARGE.project_id: 2**40, SMALL.project_id: 0}
    await Retention(database, Then(), days=30, rows=1_000, max_bytes=given.__getitem__).sweep()
    assert (len(await ids(database, LARGE.id)), await ids(database, SMALL.id)) == (40, [])


async def test_a_project_that_writes_much_does_not_wait_for_the_next_sweep(database: Database) -> None:
    made = await fill(database)
    retention = Retention(database, Then(), days=30, rows=1_000, max_bytes=lambda _: 5 * len(BODY) + 5_000)
    tasks = Tasks()
    tasks.loop(retention.run(), name="retention")
    retention.written(ProjectId(LARGE.project_id), 64 * 1024 * 1024)
    async with asyncio.timeout(20):
        while await ids(database, LARGE.id) != made[:5]:
            await asyncio.sleep(0.01)
    await tasks.close()


async def test_late_lines_count(database: Database) -> None:
    (newest, *_) = await fill(database, 3)
    line = ConsoleLine(level="log", message="y" * 10_000, at_ms=AT_MS)
    await database.write(stored.append_late, {newest: stored.Late([line] * 100)})
    await Retention(database, Then(), days=30, rows=1_000, max_bytes=lambda _: 1_000_000).sweep()
    assert await ids(database, LARGE.id) == []
