"""What is told of triggers of spaces."""

from __future__ import annotations

from msgspec.structs import replace

from isolet.clock import SystemClock
from isolet.database import projects
from isolet.database.connection import Database
from isolet.domain.changes import Change, ProjectChanged
from isolet.functions.space_triggers import SpaceTriggers
from isolet.listeners import Listeners
from tests.integration.database.rows import a_project


async def test_a_project_is_told_as_it_is_now_and_not_once_it_is_gone(database: Database) -> None:
    asked = a_project("shop")
    await database.write(projects.insert_project, asked)
    changed_meanwhile = replace(asked, limits={"functions": 3})
    found, told = [changed_meanwhile, None], list[Change]()
    triggers = SpaceTriggers(
        database=database, events=Listeners(told.append), clock=SystemClock(), current=lambda _: found.pop(0)
    )
    made = await triggers.create(asked, {"type": "cron", "description": "", "config": {}})
    await triggers.delete(asked, made.id)
    assert told == [ProjectChanged(project=changed_meanwhile)]
