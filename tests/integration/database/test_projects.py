import asyncio
from functools import partial

import pytest
from msgspec.structs import replace

from isolet.database import access, deleted, functions, versions, webhook_secrets
from isolet.database import projects as stored
from isolet.database.connection import Database
from isolet.domain.projects import Plan, Project
from isolet.errors import Conflict, NotFound
from tests.integration.database.rows import AT_MS, a_deployment, a_function, a_key, a_project, a_version


async def test_projects_are_listed_by_slug_as_they_were_stored(database: Database) -> None:
    shop = a_project("shop", plan=Plan.PRO, allowed_origins=("https://a.example", "*"), name="Läden")
    blog = a_project("blog", allowed_origins=())
    for project in (shop, blog):
        await database.write(stored.insert_project, project)
    assert await database.read(stored.list_projects) == [blog, shop]
    assert await database.read(partial(stored.list_projects, limit=1)) == [blog]
    assert await database.read(partial(stored.list_projects, after="blog", limit=5)) == [shop]
    # One that was deleted between two pages.
    assert await database.read(partial(stored.list_projects, after="cook", limit=5)) == [shop]
    assert await database.read(stored.find_project, "shop") == shop
    assert await database.read(stored.find_project, "sho_") is None


async def test_a_slug_belongs_to_one_project(database: Database) -> None:
    first = a_project("shop")
    await database.write(stored.insert_project, first)
    with pytest.raises(Conflict, match=r"^cannot create project 'shop': the slug is taken$"):
        await database.write(stored.insert_project, a_project("shop"))
    assert await database.read(stored.list_projects) == [first]


async def test_a_changed_project_replaces_itself_only(database: Database) -> None:
    shop, blog = a_project("shop"), a_project("blog")
    for project in (shop, blog):
        await database.write(stored.insert_project, project)
    after = replace(shop, name="New", plan=Plan.FREE, allowed_origins=("https://b.example",), limits={"functions": 3})
    assert await database.write(stored.modify_project, shop.id, lambda _: after) == after
    assert await database.read(stored.list_projects) == [blog, after]


async def test_changes_of_a_project_at_once_all_count(database: Database) -> None:
    shop = a_project("shop")
    await database.write(stored.insert_project, shop)

    def set_limit(place: int, before: Project) -> Project:
        return replace(before, limits={**before.limits, f"limit{place}": place})

    changes = [database.write(stored.modify_project, shop.id, partial(set_limit, place)) for place in range(8)]
    await asyncio.gather(*changes)
    (after,) = await database.read(stored.list_projects)
    assert after.limits == {f"limit{place}": place for place in range(8)}


async def test_a_change_of_a_project_that_is_gone_is_told(database: Database) -> None:
    with pytest.raises(NotFound, match=r"^Project not found$"):
        await database.write(stored.modify_project, a_project("gone").id, lambda found: found)


async def test_a_deleted_project_takes_all_it_holds_along(database: Database) -> None:
    shop, blog = a_project("shop"), a_project("blog")
    for project in (shop, blog):
        function = a_function(project)
        await database.write(stored.insert_project, project)
        await database.write(access.insert_key, a_key(project, f"isk_{project.slug}"))
        await database.write(functions.insert_function, function)
        await database.write(versions.insert_version, a_version(function))
        await database.write(versions.put_deployment, a_deployment(function), AT_MS)
    before = await database.read(functions.list_functions)

    await database.write(stored.delete_project, shop.id)

    gone, kept = sorted(before, key=lambda function: function.project_id == blog.id)
    assert await database.read(stored.list_projects) == [blog]
    assert await database.read(functions.list_functions) == [kept]
    assert [key.project_id for key in await database.read(access.list_keys)] == [blog.id]
    with pytest.raises(NotFound):
        await database.read(functions.get_function, gone.id)
    assert len(await database.read(versions.list_versions, kept.id)) == 1
    assert [found.function_id for found in await database.read(versions.list_deployments)] == [kept.id]
    with pytest.raises(NotFound):
        await database.write(stored.delete_project, shop.id)


async def test_of_the_names_that_were_deleted_the_latest_are_remembered(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deleted, "NAMES_MAX", 2)
    shop, blog = a_project("shop"), a_project("blog")
    for project in (shop, blog):
        await database.write(stored.insert_project, project)
    gone = a_function(shop)
    await database.write(deleted.remember_deleted, blog.id, "first", gone.id, AT_MS)
    for place, name in enumerate(("first", "second", "first", "third", "fourth")):
        await database.write(deleted.remember_deleted, shop.id, name, gone.id, AT_MS + place)
    known = [await database.read(deleted.get_deleted, shop.id, name) for name in ("first", "second", "third", "fourth")]
    assert known == [None, None, gone.id, gone.id]
    assert await database.read(deleted.get_deleted, blog.id, "first") == gone.id


async def test_a_project_has_so_many_webhook_secrets(database: Database) -> None:
    shop = a_project("shop")
    await database.write(stored.insert_project, shop)
    made = [
        webhook_secrets.WebhookSecret(id=f"s{place}", project_id=shop.id, sealed=b"x", created_at_ms=AT_MS)
        for place in range(3)
    ]
    for secret in made[:2]:
        await database.write(webhook_secrets.insert_secret, secret, most=2)
    with pytest.raises(Conflict, match=r"^A project may have 2 webhook secrets; delete one first$"):
        await database.write(webhook_secrets.insert_secret, made[2], most=2)
