"""The loop that looks for due times."""

from __future__ import annotations

import asyncio
from functools import partial

from sqlalchemy import update

from isolet.clock import SystemClock
from isolet.database import functions, projects
from isolet.database import schedules as stored
from isolet.database.connection import Connection, Database
from isolet.database.tables.schedules import schedules
from isolet.domain.cron import read_cron
from isolet.domain.functions import Function
from isolet.domain.project_limits import ProjectLimits
from isolet.domain.schedules import Schedule, started
from isolet.ids import ScheduleId, new_id
from isolet.jobs.engine import Engine
from isolet.schedules.scheduler import Scheduler
from isolet.tasks import Tasks
from tests.integration.database.rows import a_function, a_project

HOUR_MS = 3_600_000


async def a_due_schedule(database: Database, function: Function, name: str) -> Schedule:
    """Of each minute, since an hour."""
    since_ms = SystemClock().now_ms() - HOUR_MS
    made = Schedule(
        id=ScheduleId(new_id()),
        project_id=function.project_id,
        function_id=function.id,
        name=name,
        cron=read_cron("* * * * *"),
        seen_ms=since_ms,
        created_at_ms=since_ms,
        updated_at_ms=since_ms,
    )
    made = started(made, since_ms)
    await database.write(stored.insert_schedule, made)
    return made


def put_into_a_zone_that_is_gone(connection: Connection, schedule: Schedule) -> None:
    connection.execute(update(schedules).where(schedules.c.id == schedule.id).values(timezone="Moon/Tranquility"))


async def test_a_schedule_that_cannot_be_dealt_with_holds_up_no_other(database: Database) -> None:
    project = a_project()
    function = a_function(project)
    await database.write(projects.insert_project, project)
    await database.write(functions.insert_function, function)
    broken, good = [await a_due_schedule(database, function, name) for name in ("broken", "good")]
    await database.write(put_into_a_zone_that_is_gone, broken)
    ended: list[bool] = []
    clock, loops = SystemClock(), Tasks(on_fatal=lambda: ended.append(True))
    engine = Engine(
        database=database,
        clock=clock,
        owner="s1",
        retention_ms=HOUR_MS,
        limits_of=lambda _project: ProjectLimits(),
        memory_bytes=1_000_000,
        crash_limit=3,
    )

    loops.loop(Scheduler(database=database, engine=engine, clock=clock).run(), name="schedules")
    async with asyncio.timeout(30):
        while not await database.read(partial(stored.open_firings, schedule_id=good.id)):
            await asyncio.sleep(0.01)
    await loops.close()

    assert ended == []
