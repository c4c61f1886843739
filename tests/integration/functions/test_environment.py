"""Variables that several servers set, and read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from isolet.clock import SystemClock
from isolet.database import functions as stored_functions
from isolet.database import projects as stored_projects
from isolet.database.connection import Database
from isolet.functions.environment import Environments
from isolet.functions.vault import KEY_BYTES, MasterKey, Vault
from isolet.jobs.webhook_secrets import WebhookSecrets
from isolet.listeners import Listeners
from tests.integration.database.rows import a_function, a_project

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


async def a_server(database: Database) -> tuple[Environments, WebhookSecrets]:
    """What a server has of its own, over the database that it shares."""
    nothing: Any = None
    vault, _ = await Vault.open(database, [MasterKey(bytes(KEY_BYTES))])
    environments = Environments(database=database, vault=vault, pool=nothing, events=Listeners(), clock=SystemClock())
    return environments, WebhookSecrets(database=database, vault=vault, clock=SystemClock())


async def test_what_two_servers_change_at_once_is_all_kept(database: Database) -> None:
    project = a_project()
    function = a_function(project)
    await database.write(stored_projects.insert_project, project)
    await database.write(stored_functions.insert_function, function)
    (one, _), (two, _) = await a_server(database), await a_server(database)
    names = [f"NAME_{number}" for number in range(8)]

    servers = list(zip(names, [one, two] * 4, strict=True))
    await asyncio.gather(
        *(server.change(function, {name: "set"}) for name, server in servers),
        *(server.change_project(project.id, {name: "set"}) for name, server in servers),
    )

    assert (await one.of_function(function)).values == dict.fromkeys(names, "set")
    assert (await two.of_project(project.id)).values == dict.fromkeys(names, "set")


async def test_a_server_reads_what_another_one_sealed_with_the_projects_first_key(database: Database) -> None:
    project = a_project()
    function = a_function(project)
    await database.write(stored_projects.insert_project, project)
    await database.write(stored_functions.insert_function, function)
    (one, secrets_of_one), (two, _), (_, secrets_of_three) = [await a_server(database) for _ in range(3)]

    _, text = await secrets_of_one.create(project.id)
    await one.change(function, {"NAME": "set"})

    assert (await two.of_function(function)).values == {"NAME": "set"}
    assert await secrets_of_three.keys(project.id) == [text]
