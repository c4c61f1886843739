from functools import partial

import pytest
from msgspec.structs import replace

from isolet.database import code_sizes, functions, projects
from isolet.database import versions as stored
from isolet.database.connection import Connection, Database
from isolet.domain.functions import Function
from isolet.domain.limits import Limits
from isolet.domain.versions import Language
from isolet.errors import LimitReached, NotFound
from tests.integration.database.rows import AT_MS, a_deployment, a_function, a_project, a_version


@pytest.fixture
async def pair(database: Database) -> tuple[Function, Function]:
    """Two functions of one project."""
    project = a_project()
    await database.write(projects.insert_project, project)
    made = a_function(project, "one"), a_function(project, "other")
    for function in made:
        await database.write(functions.insert_function, function)
    return made


async def test_versions_are_listed_newest_first_as_they_were_stored(
    database: Database, pair: tuple[Function, Function]
) -> None:
    one, other = pair
    first = a_version(one, 1, language=Language.TYPESCRIPT, limits=Limits(cpu_ms=5), code="ü", bundle="b" * 100_000)
    second, foreign = a_version(one, 2), a_version(other, 1)
    for version in (first, second, foreign):
        await database.write(stored.insert_version, version)

    listed = await database.read(stored.list_versions, one.id)
    assert [(shown.number, shown.language) for shown in listed] == [(2, "javascript"), (1, "typescript")]
    assert await database.read(partial(stored.list_versions, function_id=one.id, before=2)) == listed[1:]
    assert await database.read(partial(stored.list_versions, function_id=one.id, limit=1)) == listed[:1]
    assert await database.read(stored.get_version, one.id, 1) == first
    assert await database.read(stored.get_version, other.id, 1) == foreign


async def test_a_version_that_is_not_there_is_told(database: Database, pair: tuple[Function, Function]) -> None:
    with pytest.raises(NotFound, match=r"^Version 3 not found$"):
        await database.read(stored.get_version, pair[0].id, 3)


async def test_numbers_grow_past_the_newest_version_and_past_those_that_made_way(
    database: Database, pair: tuple[Function, Function]
) -> None:
    one, other = pair
    assert await database.read(stored.next_number, a_deployment(one)) == 1
    await database.write(stored.insert_version, a_version(one, 7))
    assert await database.read(stored.next_number, a_deployment(one)) == 8
    assert await database.read(stored.next_number, a_deployment(other)) == 1
    for _ in range(3):
        newest = a_deployment(one)
        await database.write(stored.put_deployment, newest, AT_MS)
    assert await database.read(stored.next_number, newest) == 10


async def test_only_the_newest_versions_and_the_live_one_are_kept(
    database: Database, pair: tuple[Function, Function]
) -> None:
    one, other = pair
    for number in range(1, 8):
        await database.write(stored.insert_version, a_version(one, number))
    await database.write(stored.insert_version, a_version(other, 1))

    await database.write(stored.prune_versions, one.id, keep=3, live=2)

    assert [version.number for version in await database.read(stored.list_versions, one.id)] == [7, 6, 5, 2]
    assert [version.number for version in await database.read(stored.list_versions, other.id)] == [1]


async def test_old_versions_make_room_in_a_project_with_too_much_code_and_the_live_one_does_not(
    database: Database, pair: tuple[Function, Function]
) -> None:
    one, other = pair

    def prune(connection: Connection, room: int) -> None:
        stored.prune_versions(connection, one.id, keep=20, live=4, project_id=one.project_id, room=lambda _: room)

    for number in range(1, 5):
        await database.write(stored.insert_version, a_version(one, number, bundle="ü" * 1_000))
    whole = await database.read(code_sizes.code_bytes, one.id)
    assert 4 * 2_000 < whole < 4 * 2_200
    await database.write(prune, 5_000)
    assert [version.number for version in await database.read(stored.list_versions, one.id)] == [4, 3]
    left = await database.read(code_sizes.code_bytes, one.id)
    assert 2 * 2_000 < left < whole / 2 + 100

    await database.write(stored.insert_version, a_version(other, 1, bundle="x" * 10_000))
    with pytest.raises(LimitReached, match=r"\(code_mb\), which is its limit"):
        await database.write(prune, 5_000)
    assert [version.number for version in await database.read(stored.list_versions, one.id)] == [4, 3]
    assert await database.read(code_sizes.code_bytes, one.id) == left


async def test_the_source_of_a_function_counts_as_it_is_now(
    database: Database, pair: tuple[Function, Function]
) -> None:
    one, _ = pair
    for code in ("x" * 5_000, "ü" * 50):
        await database.write(functions.replace_function, replace(one, code=code))
        assert await database.read(code_sizes.code_bytes, one.id) == len(code.encode())
    await database.write(functions.replace_function, replace(one, code=None, name="other"))
    assert await database.read(code_sizes.code_bytes, one.id) == 100


async def test_deploys_are_listed_in_the_order_they_were_accepted(
    database: Database, pair: tuple[Function, Function]
) -> None:
    one, other = pair
    accepted = [a_deployment(other), a_deployment(one)]
    for deployment in reversed(accepted):
        await database.write(stored.put_deployment, deployment, AT_MS)
    assert await database.read(stored.list_deployments) == accepted


async def test_a_deploy_that_has_not_begun_makes_way_for_a_newer_one(
    database: Database, pair: tuple[Function, Function]
) -> None:
    one, other = pair
    begun, waiting, newest, foreign = a_deployment(one), a_deployment(one), a_deployment(one), a_deployment(other)
    await database.write(stored.put_deployment, foreign, AT_MS)
    await database.write(stored.put_deployment, begun, AT_MS)
    assert (await database.write(stored.start_deployment, begun.id, AT_MS)).code == one.code
    for deployment in (waiting, newest):
        await database.write(stored.put_deployment, deployment, AT_MS)

    assert {found.id for found in await database.read(stored.list_deployments)} == {begun.id, newest.id, foreign.id}
    with pytest.raises(NotFound):
        await database.write(stored.start_deployment, waiting.id, AT_MS)


async def test_a_deploy_keeps_the_code_of_its_time(database: Database, pair: tuple[Function, Function]) -> None:
    one, _ = pair
    deployment = a_deployment(one)
    await database.write(stored.put_deployment, deployment, AT_MS)
    await database.write(functions.replace_function, replace(one, code="later ü"))

    assert (await database.write(stored.start_deployment, deployment.id, AT_MS)).code == one.code


async def test_a_deploy_ends_once(database: Database, pair: tuple[Function, Function]) -> None:
    one, other = pair
    deployment = a_deployment(one)
    await database.write(stored.put_deployment, deployment, AT_MS)
    assert await database.read(stored.has_deployment, one.id) is True
    assert await database.read(stored.has_deployment, other.id) is False

    assert await database.write(stored.delete_deployment, deployment.id) is True
    assert await database.write(stored.delete_deployment, deployment.id) is False
    assert await database.read(stored.has_deployment, one.id) is False
