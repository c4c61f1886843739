"""What a deploy promises."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from isolet.clock import SystemClock
from isolet.database import functions as stored_functions
from isolet.database import projects as stored_projects
from isolet.database import versions as stored
from isolet.database.code_sizes import no_bound
from isolet.database.connection import Connection, Database
from isolet.domain.functions import Function, FunctionStatus
from isolet.domain.versions import Deployment
from isolet.errors import NotFound
from isolet.functions import deploy
from isolet.functions.deploy import Deployer
from isolet.functions.pending_changes import PendingChanges
from isolet.listeners import Listeners
from tests.integration.database.rows import AT_MS, a_deployment, a_function, a_project, a_version


@pytest.fixture
def deployer(database: Database) -> Deployer:
    """One that cannot compile: every deploy that gets so far fails."""
    nothing: Any = None
    return Deployer(
        database=database,
        compiler=nothing,
        pool=nothing,
        releases=nothing,
        events=Listeners(),
        clock=SystemClock(),
        settling=PendingChanges(),
    )


async def a_stored_function(database: Database, slug: str = "hello") -> Function:
    project = a_project(slug)
    function = a_function(project, slug)
    await database.write(stored_projects.insert_project, project)
    await database.write(stored_functions.insert_function, function)
    return function


async def accepted(database: Database, function: Function, *, at_ms: int = AT_MS) -> Deployment:
    deployment = a_deployment(function)
    await database.write(stored.put_deployment, deployment, at_ms)
    return deployment


async def failed(database: Database, function: Function) -> None:
    async with asyncio.timeout(30):
        while True:
            found = await database.read(stored_functions.get_function, function.id)
            if found.status is FunctionStatus.ERROR:
                return
            await asyncio.sleep(0.01)


async def test_a_function_that_was_deleted_meanwhile_is_not_found(database: Database, deployer: Deployer) -> None:
    with pytest.raises(NotFound, match=r"^Function not found$"):
        await deployer.accept(a_function(a_project()))

    assert await database.read(stored.list_deployments) == []


def rename(connection: Connection, before: str, after: str) -> None:
    connection.exec_driver_sql(f"ALTER TABLE {before} RENAME TO {after}")


async def test_a_deploy_that_the_store_cannot_take_now_is_tried_again(
    database: Database, deployer: Deployer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "_AGAIN_MIN_S", 0.01)
    tries: list[Deployment] = []
    run = deployer._run

    async def counted(deployment: Deployment) -> bool:
        tries.append(deployment)
        return await run(deployment)

    monkeypatch.setattr(deployer, "_run", counted)
    function = await a_stored_function(database)
    deployment = await accepted(database, function)
    await database.write(rename, "deployments", "away")

    deployer.start(deployment)
    async with asyncio.timeout(30):
        while len(tries) < 3:
            await asyncio.sleep(0.01)
    await database.write(rename, "away", "deployments")

    await failed(database, function)
    assert await database.read(stored.list_deployments) == []
    await deployer.close()


async def test_a_server_goes_on_with_what_another_one_left_for_long(database: Database, deployer: Deployer) -> None:
    left, young = await a_stored_function(database, "left"), await a_stored_function(database, "young")
    await accepted(database, left)
    of_young = await accepted(database, young, at_ms=AT_MS + 1)

    await deployer.resume(before_ms=AT_MS + 1)

    await failed(database, left)
    assert await database.read(stored.list_deployments) == [of_young]
    await deployer.close()


async def test_of_two_servers_that_deploy_a_function_the_newer_deploy_stays_live(database: Database) -> None:
    function = await a_stored_function(database)

    async def publish(deployment: Deployment, number: int) -> None:
        version = a_version(function, number)
        work = partial(deploy._publish, deployment=deployment, version=version, now_ms=AT_MS, room=no_bound)
        await database.write(work)

    async def under_way() -> Deployment:
        deployment = await accepted(database, function)
        await database.write(stored.start_deployment, deployment.id, AT_MS)
        return deployment

    first, second = await under_way(), await under_way()
    await publish(first, 1)
    with pytest.raises(deploy._Overtaken):
        await publish(second, 1)
    await publish(second, 2)

    older, newer = await under_way(), await under_way()
    await publish(newer, 3)
    with pytest.raises(NotFound):
        await publish(older, 4)
    live = await database.read(stored_functions.get_function, function.id)
    assert (live.version, live.status) == (3, FunctionStatus.DEPLOYED)
