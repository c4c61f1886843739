import pytest

from isolet.domain.functions import Function
from isolet.domain.limits import Limits
from isolet.domain.versions import Language
from isolet.errors import NotFound
from isolet.store import functions, projects
from isolet.store import versions as stored
from isolet.store.database import Database
from tests.integration.store.rows import a_deployment, a_function, a_project, a_version


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

    assert await database.read(stored.list_versions, one.id) == [second, first]
    assert await database.read(stored.get_version, one.id, 1) == first
    assert await database.read(stored.get_version, other.id, 1) == foreign


async def test_a_version_that_is_not_there_is_told(database: Database, pair: tuple[Function, Function]) -> None:
    with pytest.raises(NotFound, match=r"^Version 3 not found$"):
        await database.read(stored.get_version, pair[0].id, 3)


async def test_numbers_grow_past_the_newest_version(database: Database, pair: tuple[Function, Function]) -> None:
    one, other = pair
    assert await database.read(stored.next_number, one.id) == 1
    await database.write(stored.insert_version, a_version(one, 7))
    assert await database.read(stored.next_number, one.id) == 8
    assert await database.read(stored.next_number, other.id) == 1


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


async def test_deploys_are_listed_in_the_order_they_were_accepted(
    database: Database, pair: tuple[Function, Function]
) -> None:
    one, other = pair
    accepted = [a_deployment(other, code="ü"), a_deployment(one), a_deployment(other)]
    for deployment in reversed(accepted):
        await database.write(stored.insert_deployment, deployment)
    assert await database.read(stored.list_deployments) == accepted


async def test_a_deploy_ends_once(database: Database, pair: tuple[Function, Function]) -> None:
    one, other = pair
    deployment = a_deployment(one)
    await database.write(stored.insert_deployment, deployment)
    assert await database.read(stored.has_deployment, one.id) is True
    assert await database.read(stored.has_deployment, other.id) is False

    assert await database.write(stored.delete_deployment, deployment.id) is True
    assert await database.write(stored.delete_deployment, deployment.id) is False
    assert await database.read(stored.has_deployment, one.id) is False
