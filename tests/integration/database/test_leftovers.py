"""What is deleted in steps: on each kind of database."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, Table, func, select

from isolet.database import environment, functions, leftovers, projects, schedules, secrets, steps, versions
from isolet.database.connection import Database
from isolet.database.tables.functions import deployments, function_sources
from isolet.database.tables.functions import versions as version_rows
from isolet.database.tables.leftovers import leftovers as notes
from isolet.database.tables.schedules import firings
from isolet.database.tables.secrets import function_environments
from isolet.database.tables.secrets import secrets as secret_rows
from isolet.domain.changes import FunctionDeleted, ProjectDeleted
from isolet.domain.functions import Function
from isolet.domain.projects import Project
from isolet.domain.schedules import FiringStatus
from isolet.domain.secrets import SecretType, StoredSecret
from isolet.errors import NotFound
from isolet.ids import ProjectId
from isolet.projects.leftovers import Leftovers
from isolet.tasks import Tasks
from tests.integration.database.rows import AT_MS, a_deployment, a_firing, a_function, a_project, a_schedule, a_version

_TABLES = (version_rows, function_sources, deployments, firings, secret_rows, function_environments)
_FIRINGS = 6


async def a_full_function(database: Database, project: Project, slug: str) -> Function:
    """With three versions, a deploy that waits, and a schedule that fired."""
    function = a_function(project, slug)
    await database.write(functions.insert_function, function)
    for number in (1, 2, 3):
        await database.write(versions.insert_version, a_version(function, number, bundle="x" * 1_000))
    await database.write(versions.put_deployment, a_deployment(function), AT_MS)
    for name in ("ONE", "OTHER"):
        secret = StoredSecret(
            function_id=function.id, name=name, type=SecretType.TEXT, sealed=b"x" * 800, created_at_ms=AT_MS
        )
        await database.write(secrets.put_secret, secret)
    await database.write(environment.put_function_environment, function.id, b"sealed", AT_MS)
    schedule = a_schedule(function)
    await database.write(schedules.insert_schedule, schedule)
    for place in range(_FIRINGS):
        await database.write(schedules.insert_firing, a_firing(schedule, place))
    return function


def counts(connection: Connection) -> list[int]:
    """Versions, sources, deploys that wait, firings, secrets, sets of variables."""
    return [connection.scalar(select(func.count()).select_from(table)) or 0 for table in _TABLES]


def count(connection: Connection, table: Table) -> int:
    return connection.scalar(select(func.count()).select_from(table)) or 0


@pytest.fixture
async def pair(database: Database) -> tuple[Function, Function]:
    """A function of one project, and one of another."""
    made = []
    for slug in ("shop", "blog"):
        project = a_project(slug)
        await database.write(projects.insert_project, project)
        made.append(await a_full_function(database, project, "full"))
    return made[0], made[1]


async def test_a_deleted_function_is_gone_at_once_and_its_rows_in_steps(
    database: Database, pair: tuple[Function, Function], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "BYTES", 1_500)
    one, other = pair
    assert await database.write(functions.delete_function, one.id) is True
    assert await database.write(functions.delete_function, one.id) is False
    with pytest.raises(NotFound):
        await database.read(functions.get_function, one.id)
    assert [found.function_id for found in await database.read(versions.list_deployments)] == [other.id]

    seen = [await database.read(counts)]
    assert seen[0] == [6, 2, 2, 2 * _FIRINGS, 2, 1], "its secrets are gone at once"
    while await database.write(leftovers.delete_some):
        seen.append(await database.read(counts))
    # A version has more than a thousand bytes, so each step takes one.
    versions_left = [found[0] for found in seen]
    assert versions_left[:4] == [6, 5, 4, 3]
    assert seen[-1] == [3, 1, 1, _FIRINGS, 2, 1]
    assert await database.read(count, notes) == 0


async def test_a_deleted_project_is_gone_at_once_and_what_it_had_later_after_a_crash_too(
    database: Database, pair: tuple[Function, Function]
) -> None:
    one, other = pair
    await database.write(projects.delete_project, one.project_id)
    assert await database.read(functions.list_functions) == [replace(other, code=None)]
    assert [project.id for project in await database.read(projects.list_projects)] == [other.project_id]
    assert await database.read(partial(schedules.list_schedules, function_id=one.id)) == []

    # The server that deleted it ended then and there. Another one starts; it cannot drop all of it at first.
    dropped: list[ProjectId] = []

    async def drop(project_id: ProjectId) -> None:
        dropped.append(project_id)
        if len(dropped) == 1:
            raise OSError("the disk is full")

    started_again = Leftovers(database, drop)
    with pytest.raises(OSError, match="the disk is full"):
        await started_again.clear()
    await started_again.clear()
    await started_again.clear()
    assert dropped == [one.project_id] * 2
    assert await database.read(counts) == [3, 1, 1, _FIRINGS, 2, 1]
    assert await database.read(count, notes) == 0


async def test_what_is_deleted_does_not_wait_for_the_next_look(
    database: Database, pair: tuple[Function, Function]
) -> None:
    one, other = pair

    async def drop(_: ProjectId) -> None:
        pass

    running, tasks = Leftovers(database, drop), Tasks()
    tasks.loop(running.run(), name="leftovers")
    try:
        # Less than a minute, after which it looks anyway.
        async with asyncio.timeout(40):
            await database.write(functions.delete_function, one.id)
            running.follow(FunctionDeleted(function_id=one.id, project_id=one.project_id))
            while await database.read(count, notes):
                await asyncio.sleep(0.01)
            await database.write(projects.delete_project, other.project_id)
            running.follow(ProjectDeleted(project=a_project()))
            while await database.read(count, notes):
                await asyncio.sleep(0.01)
    finally:
        await tasks.close()
    assert await database.read(counts) == [0] * len(_TABLES)


async def test_a_function_that_comes_back_has_nothing_of_the_one_before(
    database: Database, pair: tuple[Function, Function]
) -> None:
    one, _ = pair
    await database.write(functions.delete_function, one.id)
    assert await database.read(leftovers.is_left, one.id) is True

    await database.write(functions.insert_function, replace(one, code="anew"))
    await database.write(versions.insert_version, a_version(one, 1))
    assert await database.read(leftovers.is_left, one.id) is False
    while await database.write(leftovers.delete_some):
        pass

    assert [found.number for found in await database.read(versions.list_versions, one.id)] == [1]
    assert await database.read(secrets.list_secrets, one.id) == []
    assert await database.read(environment.get_function_environment, one.id) is None
    assert (await database.read(partial(functions.get_function, function_id=one.id, with_code=True))).code == "anew"


async def test_the_rows_of_one_function_can_be_deleted_first(
    database: Database, pair: tuple[Function, Function]
) -> None:
    one, other = pair
    for function in (other, one):
        await database.write(functions.delete_function, function.id)
    while await database.read(leftovers.is_left, one.id):
        assert await database.write(leftovers.delete_some, one.id) is True
    assert await database.write(leftovers.delete_some, one.id) is False
    assert await database.read(leftovers.is_left, other.id) is True
    # Of the one function all is gone but what its schedule left.
    assert await database.read(counts) == [3, 1, 1, 2 * _FIRINGS, 0, 0]


async def test_firings_that_ended_age_out(database: Database, pair: tuple[Function, Function]) -> None:
    (schedule, *_) = await database.read(partial(schedules.list_schedules, function_id=pair[0].id))
    for place, status in enumerate((FiringStatus.QUEUED, FiringStatus.RUNNING)):
        await database.write(schedules.insert_firing, a_firing(schedule, _FIRINGS + place, status))
    # Their ids were made now.
    assert await database.write(partial(schedules.delete_old_firings, before_ms=AT_MS, limit=100)) == 0
    later = 2**45
    assert await database.write(partial(schedules.delete_old_firings, before_ms=later, limit=5)) == 5
    assert await database.write(partial(schedules.delete_old_firings, before_ms=later, limit=100)) == 2 * _FIRINGS - 5
    left = await database.read(partial(schedules.list_firings, schedule_id=schedule.id, limit=100))
    assert sorted(firing.status for firing in left) == [FiringStatus.QUEUED, FiringStatus.RUNNING]
