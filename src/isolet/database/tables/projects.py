"""Projects, and which stores they have."""

from __future__ import annotations

from sqlalchemy import JSON, Column, String, Table, Text

from isolet.database.tables.columns import id_column, metadata, ms_column, owner_column

projects = Table(
    "projects",
    metadata,
    id_column(),
    Column("slug", String(63), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("plan", String(20), nullable=False),
    Column("allowed_origins", JSON, nullable=False),
    Column("limits", JSON),
    Column("egress_allow", JSON(none_as_null=True)),
    ms_column("created_at_ms"),
)

stores = Table(
    "stores",
    metadata,
    owner_column("project_id", "projects.id", primary_key=True),
    Column("kind", String(10), primary_key=True),
    Column("name", String(63), primary_key=True),
    ms_column("created_at_ms"),
)
