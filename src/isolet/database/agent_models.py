"""The models of projects, with their sealed keys."""

from __future__ import annotations

from msgspec import Struct
from sqlalchemy import Connection, delete, insert, select

from isolet.database.tables.agents import agent_models
from isolet.domain.agent_models import AgentModel
from isolet.ids import ProjectId


class StoredModel(Struct, frozen=True, kw_only=True):
    model: AgentModel
    sealed_key: bytes | None


def get_model(connection: Connection, project_id: ProjectId) -> StoredModel | None:
    row = connection.execute(select(agent_models).where(agent_models.c.project_id == project_id)).one_or_none()
    if row is None:
        return None
    sealed = None if row.sealed_key is None else bytes(row.sealed_key)
    model = AgentModel(base_url=row.base_url, model=row.model, streams=row.streams, has_key=sealed is not None)
    return StoredModel(model=model, sealed_key=sealed)


def has_model(connection: Connection, project_id: ProjectId) -> bool:
    return get_model(connection, project_id) is not None


def put_model(connection: Connection, project_id: ProjectId, stored: StoredModel) -> None:
    connection.execute(delete(agent_models).where(agent_models.c.project_id == project_id))
    connection.execute(
        insert(agent_models).values(
            project_id=project_id,
            base_url=stored.model.base_url,
            model=stored.model.model,
            streams=stored.model.streams,
            sealed_key=stored.sealed_key,
        )
    )
