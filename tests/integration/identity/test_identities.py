"""Settings of tokens that another server changed are taken over, and nothing else is read anew."""

from __future__ import annotations

import asyncio
import sys
import threading
from importlib.abc import MetaPathFinder
from typing import Any

import pytest
from joserfc.jwk import OKPKey

import isolet.identity
from isolet.clock import SystemClock
from isolet.database import projects as stored_projects
from isolet.database.connection import Database
from isolet.domain.tokens import TokenSettings
from isolet.errors import InvalidInput
from isolet.functions.vault import KEY_BYTES, MasterKey, Vault
from isolet.identity.identity import Identities
from isolet.identity.jwks import key_set
from isolet.ids import ProjectId, new_id
from isolet.runtime.egress import Egresses
from tests.integration.database.rows import a_project
from tests.support.runtime import Runtime

KEY = OKPKey.generate_key("Ed25519", {"kid": "a"}).as_dict(private=False)


class Counts(Identities):
    """How often keys were read, which takes milliseconds each time, and in how many turns of the loop."""

    read = 0
    turns = 0
    _in_turn = False

    def _keys_of(self, project_id: ProjectId, settings: TokenSettings) -> Any:
        self.read += 1
        if not self._in_turn:
            self._in_turn = True
            self.turns += 1
            asyncio.get_running_loop().call_soon(self._end_turn)
        return super()._keys_of(project_id, settings)

    def _end_turn(self) -> None:
        self._in_turn = False


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_keys_are_read_one_project_in_a_turn_and_only_those_that_changed(
    database: Database, runtime: Runtime
) -> None:
    vault, _ = await Vault.open(database, [MasterKey(bytes(KEY_BYTES))])
    egresses: Egresses = runtime.egresses()
    ids = []
    for _ in range(5):
        project = a_project(f"p-{new_id()}")
        await database.write(stored_projects.insert_project, project)
        ids.append(project.id)
    one, other = (Counts(database=database, vault=vault, clock=SystemClock(), egresses=egresses) for _ in range(2))
    for project_id in ids:
        await one.set(project_id, {"jwks": {"keys": [KEY]}})
    await other.load()
    assert (other.read, other.turns) == (5, 5)

    await one.set(ids[2], {"jwks": {"keys": [KEY]}, "issuer": "me"})
    await other.load()
    settings = other.settings(ids[2])
    assert settings is not None
    assert (settings.issuer, other.read) == ("me", 6)
    await egresses.close()


def test_a_key_with_an_endless_number_is_refused_before_it_is_read() -> None:
    with pytest.raises(InvalidInput, match="too large"):
        key_set({"keys": [{"kty": "RSA", "n": "A" * 5_000, "e": "AQAB"}]})


class Imports(MetaPathFinder):
    """On which threads the library of keys was loaded."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname == "isolet.identity.jose":
            self.threads.append(threading.get_ident())


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_the_library_of_keys_is_loaded_beside_the_loop(
    database: Database, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault, _ = await Vault.open(database, [MasterKey(bytes(KEY_BYTES))])
    project = a_project(f"p-{new_id()}")
    await database.write(stored_projects.insert_project, project)
    imports, egresses = Imports(), runtime.egresses()
    monkeypatch.setattr(sys, "meta_path", [imports, *sys.meta_path])
    for change in (
        lambda made: made.set(project.id, {"jwks": {"keys": [KEY]}}),
        lambda made: made.load(),
    ):
        monkeypatch.delattr(isolet.identity, "jose", raising=False)
        monkeypatch.delitem(sys.modules, "isolet.identity.jose", raising=False)
        await change(Identities(database=database, vault=vault, clock=SystemClock(), egresses=egresses))
    assert len(imports.threads) == 2
    assert threading.get_ident() not in imports.threads
    await egresses.close()
