"""Models of agents."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, LargeBinary, Table, Text

from isolet.database.tables.columns import metadata, owner_column

agent_models = Table(
    "agent_models",
    metadata,
    owner_column("project_id", "projects.id", primary_key=True),
    Column("base_url", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("streams", Boolean, nullable=False),
    Column("sealed_key", LargeBinary),
)
