"""What the use cases of functions write together."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from isolet.clock import SystemClock
from isolet.database import projects as stored_projects
from isolet.database import versions as stored_versions
from isolet.database.connection import Database
from isolet.domain.projects import Project
from isolet.errors import InvalidInput, LimitReached
from isolet.functions.deploy import new_deployment
from isolet.functions.pending_changes import PendingChanges
from isolet.functions.service import Functions
from isolet.functions.vault import MasterKey, Vault
from isolet.ids import FunctionId, new_id
from isolet.listeners import Listeners
from tests.integration.database.rows import a_project

VALUES = {"name": "one", "slug": "one", "code": "export default () => new Response()"}


async def _opened(database: Database, **limits: Any) -> tuple[Functions, Project]:
    """With a project."""
    key = MasterKey.parse(base64.b64encode(b"m" * 32).decode(), source="the test")
    vault, _ = await Vault.open(database, [key])
    nothing: Any = None
    functions = Functions(
        database=database,
        pool=nothing,
        events=Listeners(),
        clock=SystemClock(),
        settling=PendingChanges(),
        vault=vault,
        **limits,
    )
    project = a_project()
    await database.write(stored_projects.insert_project, project)
    return functions, project


async def test_a_function_and_its_first_deploy_are_on_disk_together_or_not_at_all(database: Database) -> None:
    """So that a server that ends between the two leaves no function that nobody deploys."""
    functions, project = await _opened(database)
    first, second = (new_deployment(project.id, FunctionId(new_id())) for _ in range(2))

    await functions.create(project.id, VALUES, function_id=first.function_id, deployment=first)
    with pytest.raises(InvalidInput, match="slug has already been taken"):
        await functions.create(project.id, VALUES, function_id=second.function_id, deployment=second)

    assert await database.read(stored_versions.list_deployments) == [first]
    assert [function.id for function in await functions.list(project.id, limit=10)] == [first.function_id]


async def test_what_a_functions_own_settings_schedule_is_among_the_schedules_that_a_project_may_have(
    database: Database,
) -> None:
    functions, project = await _opened(database, most_schedules=lambda _: 1)
    cron = {"triggers": [{"type": "cron", "config": {"schedule": "0 3 * * *"}}]}
    first = await functions.create(project.id, {**VALUES, **cron})
    for refused in (cron, {"door_settings": {"options": {"schedule": "0 4 * * *"}}}):
        with pytest.raises(LimitReached, match="1 schedules, which is its limit"):
            await functions.create(project.id, {**VALUES, "name": "two", "slug": "two", **refused})
    second = await functions.create(project.id, {**VALUES, "name": "two", "slug": "two"})
    with pytest.raises(LimitReached):
        await functions.update(project.id, second.id, cron)
    await functions.update(project.id, first.id, {"triggers": [{"type": "cron", "config": {"schedule": "0 5 * * *"}}]})
    await functions.update(project.id, first.id, {"triggers": [{"type": "http", "config": {"auth": "none"}}]})
    await functions.update(project.id, second.id, cron)
