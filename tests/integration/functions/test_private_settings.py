"""The database holds no secret of a trigger, and no variable of Altair's API, in clear; also after an upgrade."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import make_url, text

from isolet.clock import SystemClock
from isolet.database import functions as stored_functions
from isolet.database import migrate
from isolet.database import private_settings as stored
from isolet.database import projects as stored_projects
from isolet.database.connection import Database
from isolet.database.engine import open_engines
from isolet.domain.functions import Function
from isolet.domain.projects import Project
from isolet.functions.pending_changes import PendingChanges
from isolet.functions.private_settings import door_env, seal, seal_stored
from isolet.functions.service import Functions
from isolet.functions.vault import MasterKey, Vault
from isolet.ids import FunctionId, ProjectId, new_id
from isolet.listeners import Listeners

CODE = "export default () => new Response()"
ENV = {"TOKEN": "variable-in-altair", "ODD": 'quote " and \ud800'}
SECRETS = ("secret-of-a-webhook", "secret-of-an-upload")
TRIGGERS = [
    {"type": "http", "config": {"auth": "none"}, "enabled": True},
    {"type": "webhook", "config": {"provider": "github", "secret": SECRETS[0], "header": "x-sig"}, "enabled": True},
    {"type": "s3_upload", "config": {"secret": SECRETS[1]}, "enabled": False},
]
OVERWRITTEN = "variable-that-was-overwritten"
PRIVATE = (ENV["TOKEN"], *SECRETS, OVERWRITTEN)


def master_key(text: str = "m") -> MasterKey:
    return MasterKey.parse(base64.b64encode(text.encode() * 32).decode(), source="the test")


@pytest.fixture
def dump(request: pytest.FixtureRequest) -> Callable[[str], bytes]:
    """All that a database holds: SQLite's files as they are, PostgreSQL's contents."""

    def read(url: str) -> bytes:
        parsed = make_url(url)
        if parsed.get_backend_name() == "postgresql":
            return str(request.getfixturevalue("postgres").dump(url)).encode()
        path = Path(str(parsed.database))
        return b"".join(file.read_bytes() for file in path.parent.glob(path.name + "*"))

    return read


def assert_private(content: bytes) -> None:
    assert b"x-sig" in content
    for value in PRIVATE:
        assert value.encode() not in content


def functions_of(database: Database, vault: Vault) -> Functions:
    nothing: Any = None
    return Functions(
        database=database, pool=nothing, events=Listeners(), clock=SystemClock(), settling=PendingChanges(), vault=vault
    )


async def a_project(database: Database) -> ProjectId:
    project = Project(id=ProjectId(new_id()), slug="one", name="One", created_at_ms=0)
    await database.write(stored_projects.insert_project, project)
    return project.id


def trigger_secrets(vault: Vault, function: Function) -> Any:
    assert function.sealed_triggers is not None
    purpose = f"secrets of the triggers of {function.id}"
    return json.loads(vault.open_sealed(function.project_id, function.sealed_triggers, purpose=purpose))


async def test_what_is_written_is_sealed(database: Database, database_url: str, dump: Callable[[str], bytes]) -> None:
    vault, _ = await Vault.open(database, [master_key()])
    functions, project_id = functions_of(database, vault), await a_project(database)

    values = {
        "name": "one",
        "code": CODE,
        "triggers": TRIGGERS,
        "door_settings": {"env": {"A": OVERWRITTEN}, "options": {}},
    }
    created = await functions.create(project_id, values)
    await functions.update(project_id, created.id, {"door_settings": {"env": ENV, "options": {"topics": "a"}}})

    function = await functions.get(project_id, created.id)
    assert_private(dump(database_url))
    assert door_env(vault, function) == ENV
    assert function.door_settings == {"options": {"topics": "a"}}
    assert trigger_secrets(vault, function) == {"webhook": SECRETS[0], "s3_upload": SECRETS[1]}
    assert function.triggers is not None
    assert [trigger.config for trigger in function.triggers] == [
        {"auth": "none"},
        {"provider": "github", "secret": "***", "header": "x-sig"},
        {"secret": "***"},
    ]


async def test_what_has_nothing_private_needs_no_key(database: Database) -> None:
    vault, _ = await Vault.open(database, [master_key()])
    functions, project_id = functions_of(database, vault), await a_project(database)

    settings = {"env": {}, "options": {}}
    created = await functions.create(project_id, {"name": "one", "code": CODE, "door_settings": settings})

    assert (created.sealed_env, created.sealed_triggers) == (None, None)
    assert door_env(vault, created) == {}
    assert await vault.rotate(master_key("n")) == 0


async def test_another_function_cannot_show_what_was_sealed_for_one(database: Database) -> None:
    vault, _ = await Vault.open(database, [master_key()])
    functions, project_id = functions_of(database, vault), await a_project(database)
    one, two = [
        await functions.create(project_id, {"name": name, "code": CODE, "door_settings": {"env": ENV}})
        for name in ("one", "two")
    ]
    stolen = await functions.update(project_id, two.id, {"sealed_env": one.sealed_env})

    with pytest.raises(Exception, match=r"^cannot open what is sealed: it was changed, or sealed with another key$"):
        door_env(vault, stolen)


def an_earlier_database(url: str, count: int = 1) -> None:
    """A database of the release before, with functions in clear, and with a value that was overwritten."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    insert = text(
        "INSERT INTO functions (id, project_id, name, slug, triggers, altair, function_type, response_mode, "
        "public_endpoint, limits, status, lock_version, created_at_ms, updated_at_ms) VALUES (:id, 'p', "
        ":name, :slug, :triggers, :altair, 'cloudflare_worker', 'passthrough', false, '{}', 'draft', 3, 5, 5)"
    )
    engines = open_engines(url)
    with engines.writer.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0013")
        connection.execute(
            text(
                "INSERT INTO projects (id, slug, name, plan, allowed_origins, created_at_ms) "
                "VALUES ('p', 'shop', 'Shop', 'free', '[]', 5)"
            )
        )
        for number in range(count):
            old = {"env": {"A": OVERWRITTEN * 500}, "options": {}}
            named = dict.fromkeys(("id", "name", "slug"), f"f{number}")
            connection.execute(insert, {**named, "triggers": json.dumps(TRIGGERS), "altair": json.dumps(old)})
    with engines.writer.begin() as connection:
        new = json.dumps({"env": ENV, "options": {"topics": "a"}})
        connection.execute(text("UPDATE functions SET altair = :new"), {"new": new})
    engines.dispose()


async def test_what_an_earlier_release_left_in_clear_is_sealed_at_the_start(
    empty_database_url: str, dump: Callable[[str], bytes]
) -> None:
    an_earlier_database(empty_database_url)
    assert all(value.encode() in dump(empty_database_url) for value in (ENV["TOKEN"], *SECRETS))

    for _ in range(2):
        database = Database(empty_database_url)
        await database.open()
        try:
            vault, _ = await Vault.open(database, [master_key()])
            await seal_stored(database, vault)
            assert_private(dump(empty_database_url))
            function = await database.read(stored_functions.get_function, FunctionId("f0"))
            assert await database.read(stored.list_in_clear, FunctionId(""), 5) == []
        finally:
            await database.close()
        assert_private(dump(empty_database_url))
        assert door_env(vault, function) == ENV
        assert function.door_settings == {"options": {"topics": "a"}}
        assert trigger_secrets(vault, function) == {"webhook": SECRETS[0], "s3_upload": SECRETS[1]}
        assert (function.lock_version, function.updated_at_ms) == (3, 5)


async def test_servers_that_start_at_once_seal_each_function_once(postgres: Any, dump: Callable[[str], bytes]) -> None:
    with postgres.temporary() as url:
        an_earlier_database(url, count=30)
        databases = [Database(url) for _ in range(3)]
        try:
            for database in databases:
                await database.open()
            vaults = [(await Vault.open(database, [master_key()]))[0] for database in databases]
            await asyncio.gather(*map(seal_stored, databases, vaults))

            for database, vault in zip(databases, vaults, strict=True):
                await vault.load_missing()
                found = await database.read(stored_functions.list_functions)
                assert len(found) == 30
                assert all(door_env(vault, function) == ENV for function in found)
                assert all(set(trigger_secrets(vault, function).values()) == set(SECRETS) for function in found)
        finally:
            for database in databases:
                await database.close()
        assert_private(dump(url))


async def test_a_change_between_reading_and_sealing_is_kept(database: Database) -> None:
    vault, _ = await Vault.open(database, [master_key()])
    functions, project_id = functions_of(database, vault), await a_project(database)
    created = await functions.create(project_id, {"name": "one", "code": CODE, "door_settings": {"env": ENV}})
    read = await functions.get(project_id, created.id)
    await functions.update(project_id, created.id, {"door_settings": {"env": {"NEW": "1"}, "options": {}}})

    values = await seal(vault, read, {"door_settings": {"env": ENV}})
    assert not await database.write(stored.seal_function, read, values)

    assert door_env(vault, await functions.get(project_id, created.id)) == {"NEW": "1"}


async def test_variables_in_clear_of_a_server_of_an_earlier_release_count(database: Database) -> None:
    vault, _ = await Vault.open(database, [master_key()])
    functions, project_id = functions_of(database, vault), await a_project(database)
    created = await functions.create(project_id, {"name": "one", "code": CODE, "door_settings": {"env": ENV}})
    before = await functions.get(project_id, created.id)
    written = {"door_settings": {"env": {"A": "in-clear"}, "options": {}}}
    assert await database.write(stored.seal_function, before, written)

    assert door_env(vault, await functions.get(project_id, created.id)) == {"A": "in-clear"}
    await seal_stored(database, vault)

    function = await functions.get(project_id, created.id)
    assert (function.door_settings, door_env(vault, function)) == ({"options": {}}, {"A": "in-clear"})


async def test_a_rotation_of_the_master_key_keeps_them(database: Database) -> None:
    vault, _ = await Vault.open(database, [master_key()])
    functions, project_id = functions_of(database, vault), await a_project(database)
    values = {"name": "one", "code": CODE, "triggers": TRIGGERS, "door_settings": {"env": ENV}}
    created = await functions.create(project_id, values)

    assert await vault.rotate(master_key("n")) == 1
    opened, _ = await Vault.open(database, [master_key("n")])

    function = await functions.get(project_id, created.id)
    assert door_env(opened, function) == ENV
    assert trigger_secrets(opened, function) == {"webhook": SECRETS[0], "s3_upload": SECRETS[1]}
