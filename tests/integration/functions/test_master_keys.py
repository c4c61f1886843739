"""The master key's file and variable, over a database with something sealed in it."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import pytest
from msgspec import Struct

from isolet.database import projects as stored_projects
from isolet.database.connection import Database
from isolet.errors import SettingsError
from isolet.functions.master_keys import MasterKeys, open_vault
from isolet.functions.vault import Vault
from isolet.ids import ProjectId
from isolet.settings import load
from tests.integration.database.rows import a_project

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Sealed(Struct, frozen=True, kw_only=True):
    """A folder with the key of a database, and a value that it sealed there."""

    database: Database
    folder: Path
    project_id: ProjectId
    value: bytes

    @property
    def file(self) -> Path:
        return self.folder / "master-key"

    @property
    def next(self) -> Path:
        return self.folder / "master-key.next"

    async def open(self, **variables: str) -> tuple[Vault, MasterKeys]:
        """As a server does at its start."""
        return await open_vault(load(variables, {}), self.database, self.folder)

    async def opens(self, **variables: str) -> bool:
        vault, _ = await self.open(**variables)
        return vault.open_sealed(self.project_id, self.value, purpose="p") == "hush"


@pytest.fixture
async def sealed(database: Database, tmp_path: Path) -> Sealed:
    folder = tmp_path / "data"
    folder.mkdir()
    project = a_project()
    await database.write(stored_projects.insert_project, project)
    vault, _ = await open_vault(load({}, {}), database, folder)
    value = await vault.seal(project.id, "hush", purpose="p")
    return Sealed(database=database, folder=folder, project_id=project.id, value=value)


async def test_the_key_is_made_once_and_opens_at_every_start(sealed: Sealed) -> None:
    before = sealed.file.read_text()

    assert await sealed.opens()
    assert await sealed.opens()
    assert sealed.file.read_text() == before


@pytest.mark.parametrize("key", ["short", "not base64 at all!", base64.b64encode(bytes(16)).decode()])
async def test_a_key_that_is_none_is_refused_and_not_shown(sealed: Sealed, key: str) -> None:
    with pytest.raises(SettingsError) as told:
        await sealed.open(ISOLET_MASTER_KEY=key)

    assert told.value.message.startswith("cannot read ISOLET_MASTER_KEY: a master key is 32 bytes in base64")
    assert key not in told.value.message


async def test_a_lost_file_is_told_and_not_replaced_by_a_key_that_opens_nothing(sealed: Sealed) -> None:
    sealed.file.unlink()

    with pytest.raises(SettingsError, match=r"^cannot open the secrets: they are sealed with master key"):
        await sealed.open()


async def test_a_variable_takes_the_place_of_the_file(sealed: Sealed) -> None:
    right = sealed.file.read_text().strip()
    sealed.file.unlink()

    assert await sealed.opens(ISOLET_MASTER_KEY=right)
    assert not sealed.file.exists()


async def test_a_rotation_cut_off_before_the_database_still_opens_with_the_old_key(
    sealed: Sealed, tmp_path: Path
) -> None:
    """The new key is on disk, the data keys are not wrapped with it yet."""
    old = sealed.file.read_text()
    sealed.next.write_text(base64.b64encode(b"n" * 32).decode())

    assert await sealed.opens()
    assert sealed.file.read_text() == old
    assert not sealed.next.exists()


async def test_a_rotation_cut_off_after_the_database_opens_with_the_new_key(sealed: Sealed, tmp_path: Path) -> None:
    """The data keys are wrapped with the new key, which has not taken the old one's place yet."""
    shutil.copy(sealed.file, tmp_path / "old")
    _, masters = await sealed.open()
    await masters.rotate(None)
    new = sealed.file.read_text()
    sealed.file.rename(sealed.next)
    shutil.copy(tmp_path / "old", sealed.file)

    assert await sealed.opens()
    assert sealed.file.read_text() == new
    assert not sealed.next.exists()


async def test_a_rotation_cut_off_while_the_key_was_written_still_opens(sealed: Sealed) -> None:
    (sealed.folder / "master-key.next.partial").write_text("half a k")

    assert await sealed.opens()
