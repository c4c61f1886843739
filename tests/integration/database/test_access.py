from functools import partial

from isolet.database import access as stored
from isolet.database import projects
from isolet.database.connection import Database
from isolet.domain.access import Role
from tests.integration.database.rows import a_key, a_project


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
