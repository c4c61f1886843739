"""A server's memory follows what another one writes, and never goes back behind what it did itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from isolet.clock import SystemClock
from isolet.database import access as stored_access
from isolet.database import functions as stored_functions
from isolet.database import projects as stored_projects
from isolet.database.connection import Database
from isolet.domain.changes import Change, FunctionChanged, FunctionDeleted, FunctionDeployed, ProjectDeleted
from isolet.domain.functions import Function
from isolet.domain.projects import Project
from isolet.functions.vault import KEY_BYTES, MasterKey, Vault
from isolet.identity.identity import Identities
from isolet.ids import ProjectId
from isolet.listeners import Listeners
from isolet.projects.tokens import Tokens
from isolet.routing.follower import Follower
from isolet.routing.routes import Routes
from isolet.runtime.pool import Pool
from tests.integration.database.rows import a_function, a_key, a_project
from tests.support.runtime import Runtime


class Followed:
    """One server's routes over a database that a test writes to, as another server would."""

    def __init__(self, database: Database, follower: Follower, routes: Routes, project: Project) -> None:
        self.database = database
        self.follower = follower
        self.routes = routes
        self.project = project
        self.gone: list[ProjectId] = []
        self.heard: list[Change] = []

    async def add(self, function: Function) -> Function:
        await self.database.write(stored_functions.insert_function, function)
        return function

    async def forget(self, project_id: ProjectId) -> None:
        self.gone.append(project_id)


@pytest.fixture
async def followed(database: Database, runtime: Runtime, pool: Pool) -> AsyncIterator[Followed]:
    clock, routes, project = SystemClock(), Routes("root"), a_project()
    await database.write(stored_projects.insert_project, project)
    routes.load(functions=[], projects=[project], keys=[])
    vault, _ = await Vault.open(database, [MasterKey(bytes(KEY_BYTES))])
    egresses = runtime.egresses()
    identities = Identities(database=database, vault=vault, clock=clock, egresses=egresses)
    made: list[Followed] = []
    follower = Follower(
        database=database,
        routes=routes,
        events=Listeners(routes.follow, lambda change: made[0].heard.append(change)),
        pool=pool,
        vault=vault,
        identities=identities,
        tokens=Tokens(database=database, clock=clock),
        on_project_gone=lambda project_id: made[0].forget(project_id),
    )
    made.append(Followed(database, follower, routes, project))
    await follower.begin()
    yield made[0]
    identities.close()
    await egresses.close()


async def test_functions_that_another_server_makes_changes_and_deletes_are_followed(followed: Followed) -> None:
    function = await followed.add(a_function(followed.project))
    await followed.follower.look()
    assert followed.routes.named(followed.project.id, "hello") is not None

    deployed = replace(function, version=3)
    await followed.database.write(stored_functions.replace_function, deployed)
    await followed.follower.look()
    route = followed.routes.function(function.id)
    assert route is not None
    assert route.version == 3

    await followed.database.write(stored_functions.delete_function, function.id)
    await followed.follower.look()
    assert followed.routes.function(function.id) is None


async def test_listeners_hear_of_what_another_server_changed(followed: Followed) -> None:
    function = await followed.add(a_function(followed.project))
    await followed.follower.look()
    deployed = replace(function, version=3)
    for written in (deployed, replace(deployed, env_revision=1)):
        await followed.database.write(stored_functions.replace_function, written)
        await followed.follower.look()
    await followed.database.write(stored_functions.delete_function, function.id)
    await followed.follower.look()
    await followed.database.write(stored_projects.delete_project, followed.project.id)
    await followed.follower.look()

    assert [type(change) for change in followed.heard] == [
        FunctionChanged,
        FunctionDeployed,
        FunctionChanged,
        FunctionDeleted,
        ProjectDeleted,
    ]
    assert FunctionDeleted(function_id=function.id, project_id=followed.project.id) in followed.heard


async def test_what_did_not_change_stays_the_very_same(followed: Followed) -> None:
    function = await followed.add(a_function(followed.project))
    await followed.follower.look()
    route = followed.routes.function(function.id)

    await followed.follower.look()

    assert followed.routes.function(function.id) is route


async def test_a_change_made_here_while_the_database_is_read_wins(followed: Followed) -> None:
    function = await followed.add(a_function(followed.project, version=1))
    await followed.follower.look()
    await followed.database.write(stored_functions.replace_function, replace(function, version=2))

    look = asyncio.create_task(followed.follower.look())
    await asyncio.sleep(0)
    followed.routes.put_function(replace(function, version=3))
    await look

    route = followed.routes.function(function.id)
    assert route is not None
    assert route.version == 3


async def test_a_function_made_here_while_the_database_is_read_is_kept(followed: Followed) -> None:
    look = asyncio.create_task(followed.follower.look())
    await asyncio.sleep(0)
    mine = a_function(followed.project, "mine")
    followed.routes.put_function(mine)
    await look

    assert followed.routes.function(mine.id) is not None


async def test_projects_and_keys_are_followed(followed: Followed) -> None:
    other = a_project("other")
    key = a_key(other)
    await followed.database.write(stored_projects.insert_project, other)
    await followed.database.write(stored_access.insert_key, key)
    await followed.add(a_function(other))
    await followed.follower.look()
    principal = followed.routes.principal("isk_text")
    assert principal is not None
    assert principal.project_id == other.id

    await followed.database.write(stored_projects.delete_project, other.id)
    await followed.follower.look()

    assert followed.routes.project("other") is None
    assert followed.routes.principal("isk_text") is None
    assert followed.routes.named(other.id, "hello") is None
    assert followed.gone == [other.id]


async def test_a_project_that_was_deleted_and_made_anew_between_two_looks_is_another(followed: Followed) -> None:
    before, after = a_project("other"), a_project("other")
    await followed.database.write(stored_projects.insert_project, before)
    await followed.add(a_function(before))
    await followed.follower.look()

    await followed.database.write(stored_projects.delete_project, before.id)
    await followed.database.write(stored_projects.insert_project, after)
    await followed.follower.look()

    assert followed.routes.project("other") == after
    assert followed.routes.named(before.id, "hello") is None
    assert followed.gone == [before.id]


async def test_a_function_is_found_before_the_next_look(followed: Followed) -> None:
    function = await followed.add(a_function(followed.project))

    found = await followed.follower.find(function.id)

    # Where nobody else writes, the routes are the truth.
    assert (found is not None) == followed.database.shared
