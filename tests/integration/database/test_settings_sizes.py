"""What the settings of a project's functions take, on each kind of database."""

from __future__ import annotations

from functools import partial

import pytest
from msgspec.structs import replace

from isolet.database import environment, functions, projects, schedules, secrets
from isolet.database.connection import Database
from isolet.database.settings_sizes import note_payload, note_settings, settings_bytes
from isolet.domain.functions import Function
from isolet.domain.secrets import SecretType, StoredSecret
from isolet.errors import LimitReached
from isolet.ids import FunctionId, ProjectId
from tests.integration.database.rows import AT_MS, a_function, a_project, a_schedule


@pytest.fixture
async def pair(database: Database) -> tuple[Function, Function]:
    """Two functions of one project."""
    project = a_project()
    await database.write(projects.insert_project, project)
    made = a_function(project, "one"), a_function(project, "other")
    for function in made:
        await database.write(functions.insert_function, function)
    return made


async def noted(database: Database, function_id: FunctionId, most: int | None = None) -> int:
    def room(_: ProjectId) -> int | None:
        return most

    await database.write(note_settings, function_id, room)
    return await database.read(settings_bytes, function_id)


def a_secret(function: Function, name: str, size: int) -> StoredSecret:
    return StoredSecret(
        function_id=function.id, name=name, type=SecretType.TEXT, sealed=b"x" * size, created_at_ms=AT_MS
    )


async def test_all_that_a_client_chooses_of_a_function_is_counted_in_bytes(
    database: Database, pair: tuple[Function, Function]
) -> None:
    one, other = pair
    empty = await noted(database, one.id)
    assert 0 < empty < 500
    grown = [replace(one, description="ü" * 500), replace(one, runtime_config={"x": "y" * 5_000})]
    grown += [replace(one, sealed_env=b"\x00" * 3_000), replace(one, door_settings={"a": "b" * 3_000})]
    for function, least in zip(grown, (1_000, 5_000, 3_000, 3_000), strict=True):
        await database.write(functions.replace_function, replace(function, code=None))
        assert least <= await noted(database, one.id) - empty < least + 100
    await database.write(functions.replace_function, replace(one, code=None))
    await database.write(secrets.put_secret, a_secret(one, "KEY", 700))
    await database.write(environment.put_function_environment, one.id, b"\xff" * 900, AT_MS)
    assert await noted(database, one.id) == empty + 700 + len("KEY") + 900
    assert await noted(database, other.id) < 500


async def test_who_would_have_more_than_the_project_may_is_refused_and_who_would_have_less_is_not(
    database: Database, pair: tuple[Function, Function]
) -> None:
    one, other = pair
    await database.write(secrets.put_secret, a_secret(one, "KEY", 3_000))
    assert await noted(database, one.id, 4_000) > 3_000
    await database.write(environment.put_function_environment, other.id, b"x" * 3_000, AT_MS)
    before = await database.read(settings_bytes, other.id)
    with pytest.raises(LimitReached, match=r"larger than 0 MiB \(settings_mb\), which is its limit"):
        await noted(database, other.id, 4_000)
    assert await database.read(settings_bytes, other.id) == before
    # It has more than that, and may have less than it had.
    await database.write(secrets.put_secret, a_secret(one, "KEY", 2_000))
    assert 2_000 < await noted(database, one.id, 100) < 3_000
    assert await noted(database, other.id, 100_000) > 3_000
    found = await database.read(partial(functions.list_functions, project_id=one.project_id))
    assert {function.id for function in found} == {one.id, other.id}


async def test_payloads_of_schedules_count_as_settings_do(database: Database, pair: tuple[Function, Function]) -> None:
    one, _ = pair
    schedule = a_schedule(one, payload={"text": "x" * 1_000})
    await database.write(schedules.insert_schedule, schedule)
    await database.write(note_payload, schedule.id, lambda _: 1_100)
    await database.write(schedules.write_schedule, replace(schedule, payload={"text": "x" * 2_000}))
    with pytest.raises(LimitReached, match=r"\(settings_mb\)"):
        await database.write(note_payload, schedule.id, lambda _: 1_100)
    # Functions have it as well.
    await database.write(secrets.put_secret, a_secret(one, "KEY", 500))
    with pytest.raises(LimitReached, match=r"\(settings_mb\)"):
        await noted(database, one.id, 1_400)
    await database.write(schedules.write_schedule, replace(schedule, payload=None))
    await database.write(note_payload, schedule.id, lambda _: 0)
    assert await noted(database, one.id, 1_400) > 500
