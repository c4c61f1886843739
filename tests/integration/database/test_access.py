from functools import partial

import pytest
from msgspec.structs import replace

from isolet.database import access as stored
from isolet.database import projects
from isolet.database.connection import Database
from isolet.domain.access import Role
from isolet.errors import LimitReached
from isolet.ids import KeyId
from tests.integration.database.rows import AT_MS, a_key, a_project


async def test_keys_are_listed_oldest_first_as_they_were_stored(database: Database) -> None:
    shop, blog = a_project("shop"), a_project("blog")
    keys = [a_key(shop, "one", role=Role.ADMIN), a_key(blog, "two"), a_key(shop, "three", role=Role.INVOKE, name="ü")]
    for project in (shop, blog):
        await database.write(projects.insert_project, project)
    for key in reversed(keys):
        await database.write(stored.insert_key, key)

    assert await database.read(stored.list_keys) == keys
    assert await database.read(stored.list_keys, shop.id) == [keys[0], keys[2]]
    assert await database.read(partial(stored.list_keys, limit=2)) == keys[:2]
    assert await database.read(partial(stored.list_keys, project_id=shop.id, after=keys[0].id, limit=5)) == [keys[2]]


async def test_a_key_is_deleted_in_its_own_project_only(database: Database) -> None:
    shop, blog = a_project("shop"), a_project("blog")
    key = a_key(shop)
    for project in (shop, blog):
        await database.write(projects.insert_project, project)
    await database.write(stored.insert_key, key)

    assert await database.write(stored.delete_key, blog.id, key.id) is False
    assert await database.read(stored.list_keys) == [key]
    assert await database.write(stored.delete_key, shop.id, key.id) is True
    assert await database.write(stored.delete_key, shop.id, key.id) is False
    assert await database.read(stored.list_keys) == []


async def test_the_last_use_of_keys_only_moves_on(database: Database) -> None:
    shop = a_project("shop")
    keys = [a_key(shop, f"k{number:04}", expires_at_ms=number or None) for number in range(502)]
    await database.write(projects.insert_project, shop)
    for key in keys:
        await database.write(stored.insert_key, key)
    used = {key.id for key in keys[1:]} | {KeyId("gone")}

    await database.write(stored.mark_used, used, 500)
    await database.write(stored.mark_used, {keys[3].id}, 400)

    assert await database.read(stored.list_keys) == [keys[0], *(replace(key, last_used_at_ms=500) for key in keys[1:])]


async def test_a_project_has_so_many_keys_and_expired_ones_make_room(database: Database) -> None:
    shop, blog = a_project("shop"), a_project("blog")
    for project in (shop, blog):
        await database.write(projects.insert_project, project)
    old = a_key(shop, "old", expires_at_ms=AT_MS - 1)
    for key in (old, a_key(shop, "late", expires_at_ms=AT_MS + 1), a_key(blog, "other", expires_at_ms=AT_MS - 1)):
        assert await database.write(stored.insert_key, key, most=2) == []

    assert await database.write(stored.insert_key, a_key(shop, "new"), most=2) == [old.id]
    with pytest.raises(
        LimitReached, match=r"^The project has 2 keys, which is its limit: delete one, or ask for more$"
    ):
        await database.write(stored.insert_key, a_key(shop, "more"), most=2)
    assert [len(await database.read(stored.list_keys, project.id)) for project in (shop, blog)] == [2, 1]
    assert await database.write(stored.insert_key, a_key(blog, "more"), most=2) == []
