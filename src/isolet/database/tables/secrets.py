"""What is sealed: secrets, variables, and the keys that seal them."""

from __future__ import annotations

from sqlalchemy import Column, Integer, LargeBinary, String, Table

from isolet.database.tables.columns import id_column, metadata, ms_column, owner_column

data_keys = Table(
    "data_keys",
    metadata,
    owner_column("project_id", "projects.id", primary_key=True),
    Column("master_key_id", String(16), nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
)

# One row: which master key wraps the data keys. What is not sealed with it is refused.
master_key = Table(
    "master_key",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("key_id", String(16), nullable=False),
)

# Those of functions have no foreign key: they are deleted in steps (`isolet.database.leftovers`).
secrets = Table(
    "secrets",
    metadata,
    id_column("function_id"),
    Column("name", String(128), primary_key=True),
    Column("type", String(20), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    ms_column("created_at_ms"),
)

function_environments = Table(
    "function_environments",
    metadata,
    id_column("function_id"),
    Column("sealed", LargeBinary, nullable=False),
    ms_column("updated_at_ms"),
)

project_environments = Table(
    "project_environments",
    metadata,
    owner_column("project_id", "projects.id", primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    ms_column("updated_at_ms"),
)
