"""Data keys that several servers make and use."""

from __future__ import annotations

import asyncio

import pytest

from isolet.functions.vault import KEY_BYTES, MasterKey, Vault
from isolet.ids import ProjectId
from isolet.store import projects as stored_projects
from isolet.store.database import Database
from tests.integration.store.rows import a_project

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
MASTER = MasterKey(bytes(KEY_BYTES))


@pytest.fixture
def shared(database: Database) -> Database:
    return database


async def a_stored_project(database: Database) -> ProjectId:
    project = a_project()
    await database.write(stored_projects.insert_project, project)
    return project.id


async def two_vaults(database: Database) -> tuple[Vault, Vault]:
    (one, _), (two, _) = [await Vault.open(database, [MASTER]) for _ in range(2)]
    return one, two


async def test_what_one_server_seals_the_other_opens_once_it_has_loaded_the_key(shared: Database) -> None:
    project_id = await a_stored_project(shared)
    one, two = await two_vaults(shared)
    sealed = await one.seal(project_id, "hush", purpose="p")

    await two.load_missing(project_id)

    assert two.open_sealed(project_id, sealed, purpose="p") == "hush"


async def test_two_servers_that_seal_at_once_agree_on_the_key(shared: Database) -> None:
    project_id = await a_stored_project(shared)
    one, two = await two_vaults(shared)

    by_one, by_two = await asyncio.gather(
        one.seal(project_id, "first", purpose="p"), two.seal(project_id, "second", purpose="p")
    )

    assert one.open_sealed(project_id, by_two, purpose="p") == "second"
    assert two.open_sealed(project_id, by_one, purpose="p") == "first"


async def test_a_rotation_takes_the_keys_along_that_another_server_made(shared: Database) -> None:
    project_id = await a_stored_project(shared)
    one, two = await two_vaults(shared)
    sealed = await one.seal(project_id, "hush", purpose="p")
    following = MasterKey(b"n" * KEY_BYTES)

    assert await two.rotate(following) == 1

    vault, _ = await Vault.open(shared, [following])
    assert vault.open_sealed(project_id, sealed, purpose="p") == "hush"
