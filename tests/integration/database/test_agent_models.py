"""Models of projects in the store."""

from __future__ import annotations

from msgspec.structs import replace

from isolet.database import agent_models as stored
from isolet.database import projects as stored_projects
from isolet.database.agent_models import StoredModel
from isolet.database.connection import Database
from isolet.domain.agent_models import AgentModel
from tests.integration.database.rows import a_project


async def test_a_model_is_kept_replaced_and_goes_with_its_project(database: Database) -> None:
    project = a_project()
    await database.write(stored_projects.insert_project, project)
    assert await database.read(stored.get_model, project.id) is None
    assert not await database.read(stored.has_model, project.id)
    model = AgentModel(base_url="https://models.example/v1", model="ü\n" * 9, streams=True)
    for sealed in (b"\0sealed", None):
        await database.write(stored.put_model, project.id, StoredModel(model=model, sealed_key=sealed))
        found = await database.read(stored.get_model, project.id)
        assert found == StoredModel(model=replace(model, has_key=sealed is not None), sealed_key=sealed)
    assert await database.read(stored.has_model, project.id)
    await database.write(stored_projects.delete_project, project.id)
    assert await database.read(stored.get_model, project.id) is None
