"""What the use cases of functions write together."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from isolet.clock import SystemClock
from isolet.database import projects as stored_projects
from isolet.database import versions as stored_versions
from isolet.database.connection import Database
from isolet.errors import InvalidInput
from isolet.functions.deploy import new_deployment
from isolet.functions.pending_changes import PendingChanges
from isolet.functions.service import Functions
from isolet.functions.vault import MasterKey, Vault
from isolet.ids import FunctionId, new_id
from isolet.listeners import Listeners
from tests.integration.database.rows import a_project

VALUES = {"name": "one", "slug": "one", "code": "export default () => new Response()"}


async def test_a_function_and_its_first_deploy_are_on_disk_together_or_not_at_all(database: Database) -> None:
    """So that a server that ends between the two leaves no function that nobody deploys."""
    key = MasterKey.parse(base64.b64encode(b"m" * 32).decode(), source="the test")
    vault, _ = await Vault.open(database, [key])
    nothing: Any = None
    functions = Functions(
        database=database, pool=nothing, events=Listeners(), clock=SystemClock(), settling=PendingChanges(), vault=vault
    )
    project = a_project()
    await database.write(stored_projects.insert_project, project)
    first, second = (new_deployment(project.id, FunctionId(new_id())) for _ in range(2))

    await functions.create(project.id, VALUES, function_id=first.function_id, deployment=first)
    with pytest.raises(InvalidInput, match="slug has already been taken"):
        await functions.create(project.id, VALUES, function_id=second.function_id, deployment=second)

    assert await database.read(stored_versions.list_deployments) == [first]
    assert [function.id for function in await functions.list(project.id, limit=10)] == [first.function_id]
