import asyncio
from collections.abc import Callable
from functools import partial

import pytest
from msgspec.structs import replace

from isolet.database import functions as stored
from isolet.database import leftovers, projects, versions
from isolet.database.connection import Database
from isolet.domain.functions import DeployError, Function, FunctionStatus, FunctionType, ResponseMode
from isolet.domain.limits import Limits
from isolet.domain.projects import Project
from isolet.domain.triggers import CronTrigger
from isolet.errors import InvalidInput, LimitReached, NotFound
from isolet.ids import FunctionId, new_id
from isolet.routing.routes import route_of
from tests.integration.database.rows import AT_MS, a_deployment, a_function, a_project, a_version, without_code


@pytest.fixture
async def shop(database: Database) -> Project:
    project = a_project("shop")
    await database.write(projects.insert_project, project)
    return project


def a_full_function(project: Project) -> Function:
    return a_function(
        project,
        "full",
        description="Größe",
        function_type=FunctionType.SUPABASE_FUNCTION,
        response_mode=ResponseMode.WRAPPED,
        public_endpoint=True,
        runtime_config={"timeout": 5, "deep": [{"null": None}, 1.5]},
        limits=Limits(timeout_ms=1, cpu_ms=2, memory_limit_mb=64, concurrency=3, max_instances=4),
        status=FunctionStatus.ERROR,
        deploy_error=DeployError(message="no", line=1, column=2, text="x", at_ms=AT_MS),
        version=7,
        lock_version=8,
        created_by_id=new_id(),
        last_deployed_at_ms=AT_MS,
    )


async def test_a_function_is_read_as_it_was_stored(database: Database, shop: Project) -> None:
    for function in (a_function(shop), a_full_function(shop)):
        await database.write(stored.insert_function, function)
        assert await database.read(partial(stored.get_function, function_id=function.id, with_code=True)) == function
        assert await database.read(stored.get_function, function.id) == without_code(function)


async def test_an_empty_config_is_not_none(database: Database, shop: Project) -> None:
    empty, none = a_function(shop, "a", runtime_config={}), a_function(shop, "b", runtime_config=None)
    for function in (empty, none):
        await database.write(stored.insert_function, function)
    found = await database.read(stored.list_functions)
    assert [function.runtime_config for function in found] == [{}, None]


async def test_functions_are_listed_oldest_first(database: Database, shop: Project) -> None:
    blog = a_project("blog")
    await database.write(projects.insert_project, blog)
    made = [a_function(shop, "b"), a_function(blog, "a"), a_function(shop, "a")]
    for function in reversed(made):
        await database.write(stored.insert_function, function)
    read = partial(stored.list_functions, with_code=True)
    assert await database.read(read) == made
    assert await database.read(read, shop.id) == [made[0], made[2]]
    assert await database.read(partial(read, project_id=shop.id, after=made[0].id)) == [made[2]]
    assert await database.read(partial(read, limit=1, offset=1)) == [made[1]]


async def test_a_function_is_found_by_slug_before_name_and_the_oldest_of_a_name(
    database: Database, shop: Project
) -> None:
    blog = a_project("blog")
    await database.write(projects.insert_project, blog)
    named = a_function(shop, "one", name="two"), a_function(shop, "three", name="two")
    slugged, foreign = a_function(shop, "two", name="x"), a_function(blog, "four", name="y")
    for function in (*named, foreign):
        await database.write(stored.insert_function, function)
    assert await database.read(stored.find_function, shop.id, "two") == without_code(named[0])
    await database.write(stored.insert_function, slugged)
    assert await database.read(stored.find_function, shop.id, "two") == without_code(slugged)
    with pytest.raises(NotFound):
        await database.read(stored.find_function, shop.id, "y")


async def test_routes_are_made_without_what_only_management_shows(database: Database, shop: Project) -> None:
    whole = a_full_function(shop)
    await database.write(stored.insert_function, whole)
    narrow = replace(whole, code=None, description=None, runtime_config=None, deploy_error=None)
    assert await database.read(stored.list_for_routes) == [narrow]
    assert route_of(narrow) == route_of(whole)


async def test_a_change_that_does_not_name_the_code_leaves_it(database: Database, shop: Project) -> None:
    function = a_function(shop)
    await database.write(stored.insert_function, function)
    await database.write(stored.modify_function, function.id, lambda before: replace(before, name="new"))
    found = await database.read(partial(stored.get_function, function_id=function.id, with_code=True))
    assert (found.name, found.code) == ("new", "handler")


async def test_a_project_has_no_more_functions_than_it_may_when_many_are_made_at_once(
    database: Database, shop: Project
) -> None:
    made = [partial(stored.insert_function, function=a_function(shop, f"f{n}"), most=3) for n in range(12)]
    results = await asyncio.gather(*(database.write(one) for one in made), return_exceptions=True)
    assert sum(isinstance(result, LimitReached) for result in results) == 9
    assert len(await database.read(stored.list_functions, shop.id)) == 3


async def test_functions_are_listed_with_how_many_schedules_of_them_are_on(database: Database, shop: Project) -> None:
    on, off = (CronTrigger(schedule="0 3 * * *", enabled=enabled) for enabled in (True, False))
    blog = a_project("blog")
    await database.write(projects.insert_project, blog)
    made = [a_function(shop, "on", triggers=(on,)), a_function(shop, "off", triggers=(off,)), a_function(shop, "none")]
    for function in (*made, a_function(blog, "on", triggers=(on,))):
        await database.write(stored.insert_function, function)

    async def listed(after: FunctionId | None, text: str | None) -> list[tuple[Function, int]]:
        return await database.read(stored.list_with_schedules, shop.id, limit=2, after=after, text=text)

    first, second, third = (without_code(function) for function in made)
    assert await listed(None, None) == [(first, 1), (second, 0)]
    assert await listed(second.id, None) == [(third, 0)]
    assert await listed(None, "N") == [(first, 1), (third, 0)]


async def test_a_slug_belongs_to_one_function_of_a_project(database: Database, shop: Project) -> None:
    blog = a_project("blog")
    await database.write(projects.insert_project, blog)
    await database.write(stored.insert_function, a_function(shop, "hello"))
    await database.write(stored.insert_function, a_function(blog, "hello"))
    with pytest.raises(InvalidInput, match=r"^slug has already been taken$"):
        await database.write(stored.insert_function, a_function(shop, "hello"))


async def test_a_project_that_is_gone_gets_no_function(database: Database) -> None:
    with pytest.raises(NotFound, match="deleted meanwhile"):
        await database.write(stored.insert_function, a_function(a_project("gone")))


async def test_the_first_free_slug_is_picked(database: Database, shop: Project) -> None:
    for slug in ("hello", "hello-2", "hello-4", "hello-world"):
        await database.write(stored.insert_function, a_function(shop, slug))
    assert await database.read(stored.pick_slug, shop.id, "hello") == "hello-3"
    assert await database.read(stored.pick_slug, shop.id, "hell") == "hell"
    assert await database.read(stored.pick_slug, a_project().id, "hello") == "hello"


async def test_a_replaced_function_is_written_whole(database: Database, shop: Project) -> None:
    before = a_full_function(shop)
    other = a_function(shop, "other")
    for function in (before, other):
        await database.write(stored.insert_function, function)
    after = replace(a_function(shop, "new"), id=before.id)

    await database.write(stored.replace_function, after)

    assert await database.read(partial(stored.list_functions, with_code=True)) == [after, other]
    with pytest.raises(InvalidInput, match=r"^slug has already been taken$"):
        await database.write(stored.replace_function, replace(after, slug="other"))
    with pytest.raises(NotFound, match=r"^Function not found$"):
        await database.write(stored.replace_function, a_function(shop, "missing"))


async def test_a_function_is_modified_in_one_transaction(database: Database, shop: Project) -> None:
    function = a_function(shop)
    await database.write(stored.insert_function, function)

    def count_up(before: Function) -> Function:
        return replace(before, lock_version=before.lock_version + 1)

    results = await asyncio.gather(
        *(database.write(stored.modify_function, function.id, count_up) for _ in range(20)),
    )

    assert sorted(result.lock_version for result in results) == list(range(1, 21))
    assert (await database.read(stored.get_function, function.id)).lock_version == 20


def _refuse(_: Function) -> Function:
    raise InvalidInput("not that one")


@pytest.mark.parametrize(
    ("modify", "error"),
    [(_refuse, InvalidInput), (lambda before: replace(before, slug="other"), InvalidInput)],
)
async def test_a_refused_modification_changes_nothing(
    database: Database, shop: Project, modify: Callable[[Function], Function], error: type[Exception]
) -> None:
    function, other = a_function(shop), a_function(shop, "other")
    for each in (function, other):
        await database.write(stored.insert_function, each)
    with pytest.raises(error):
        await database.write(stored.modify_function, function.id, modify)
    assert await database.read(partial(stored.list_functions, with_code=True)) == [function, other]


async def test_a_modification_of_nothing_is_told(database: Database) -> None:
    with pytest.raises(NotFound, match=r"^Function not found$"):
        await database.write(stored.modify_function, FunctionId(new_id()), lambda before: before)


async def test_a_deleted_function_takes_its_versions_and_deploys_along(database: Database, shop: Project) -> None:
    function = a_function(shop)
    await database.write(stored.insert_function, function)
    await database.write(versions.insert_version, a_version(function))
    await database.write(versions.put_deployment, a_deployment(function), AT_MS)

    assert await database.write(stored.delete_function, function.id) is True
    assert await database.write(stored.delete_function, function.id) is False

    with pytest.raises(NotFound, match=r"^Function not found$"):
        await database.read(stored.get_function, function.id)
    assert await database.read(versions.list_deployments) == []
    # What is large goes in steps.
    while await database.write(leftovers.delete_some):
        pass
    assert await database.read(versions.list_versions, function.id) == []
    assert await database.read(versions.list_deployments) == []
