"""Data keys that several servers make and use."""

from __future__ import annotations

import asyncio
import os

import pytest

from isolet.database import projects as stored_projects
from isolet.database.connection import Database
from isolet.database.secrets import list_data_keys
from isolet.errors import SecretsFailed
from isolet.functions.vault import KEY_BYTES, MasterKey, Vault
from isolet.ids import ProjectId, new_id
from tests.integration.database.rows import a_project

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
MASTER = MasterKey(bytes(KEY_BYTES))


@pytest.fixture
def shared(database: Database) -> Database:
    return database


async def a_stored_project(database: Database) -> ProjectId:
    project = a_project(f"p-{new_id()}")
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


async def test_a_server_with_the_old_master_key_seals_nothing_after_a_rotation(shared: Database) -> None:
    first, second = await a_stored_project(shared), await a_stored_project(shared)
    one, two = await two_vaults(shared)
    known = await two.seal(first, "known", purpose="p")
    following = MasterKey(b"n" * KEY_BYTES)
    await one.rotate(following)

    with pytest.raises(SecretsFailed, match="was rotated on another server"):
        await two.seal(second, "hush", purpose="p")
    with pytest.raises(SecretsFailed, match="was rotated"):
        await two.rotate(MasterKey(b"m" * KEY_BYTES))
    sealed = await one.seal(second, "told", purpose="p")

    # What was sealed before can be read on, and one key opens all of it.
    assert two.open_sealed(first, known, purpose="p") == "known"
    vault, _ = await Vault.open(shared, [following])
    assert vault.open_sealed(second, sealed, purpose="p") == "told"


async def test_a_rotation_and_a_new_data_key_at_once_leave_one_key_that_opens_all(shared: Database) -> None:
    before = MASTER
    for _ in range(5):
        projects = [await a_stored_project(shared) for _ in range(3)]
        following = MasterKey(os.urandom(KEY_BYTES))
        (one, _), (two, _) = [await Vault.open(shared, [before]) for _ in range(2)]

        *_, rotated = await asyncio.gather(
            *(two.seal(project_id, "x", purpose="p") for project_id in projects),
            one.rotate(following),
            return_exceptions=True,
        )

        used = {key_id for key_id, _ in (await shared.read(list_data_keys)).values()}
        before = before if isinstance(rotated, Exception) else following
        # Those that came too late were refused, perhaps all of them.
        assert used <= {before.id}


async def test_a_server_that_starts_while_nothing_is_sealed_makes_its_key_the_stores(shared: Database) -> None:
    project_id = await a_stored_project(shared)
    stale, _ = await Vault.open(shared, [MASTER])
    newer, _ = await Vault.open(shared, [MasterKey(b"n" * KEY_BYTES)])

    with pytest.raises(SecretsFailed):
        await stale.seal(project_id, "x", purpose="p")
    await newer.seal(project_id, "x", purpose="p")
