"""Workflows: their graphs, triggers and policies, and where a project's messages go."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, String, Table, Text, UniqueConstraint

from isolet.database.tables.columns import id_column, metadata, ms_column, owner_column

workflows = Table(
    "workflows",
    metadata,
    id_column(),
    owner_column("project_id", "projects.id"),
    Column("name", Text, nullable=False),
    Column("slug", String(100), nullable=False),
    Column("description", Text),
    Column("status", String(20), nullable=False),
    Column("lock_version", BigInteger, nullable=False),
    Column("message_debounce_seconds", Integer, nullable=False),
    Column("inbound_message_read_mode", String(20), nullable=False),
    Column("agent_default_tools_version", Integer),
    # The workflows that it calls: their ids, else their slugs.
    Column("calls", JSON, nullable=False),
    Column("graph_bytes", BigInteger, nullable=False),
    Column("execution_count", BigInteger, nullable=False),
    ms_column("last_executed_at_ms", nullable=True),
    ms_column("created_at_ms"),
    ms_column("updated_at_ms"),
    UniqueConstraint("project_id", "name", name="workflows_project_name"),
    UniqueConstraint("project_id", "slug", name="workflows_project_slug"),
)

# Apart, since a graph may be large, and a workflow is written with each run of it.
workflow_graphs = Table(
    "workflow_graphs",
    metadata,
    owner_column("workflow_id", "workflows.id", primary_key=True),
    # JSON, in ASCII: what its texts hold may be what no column of text takes.
    Column("graph", Text, nullable=False),
)

workflow_triggers = Table(
    "workflow_triggers",
    metadata,
    id_column(),
    owner_column("project_id", "projects.id"),
    owner_column("workflow_id", "workflows.id"),
    Column("type", String(20), nullable=False),
    Column("active", Boolean, nullable=False),
    # Of a project event.
    Column("event_name", String(128)),
    # JSON, in ASCII.
    Column("settings", Text, nullable=False),
    ms_column("created_at_ms"),
    ms_column("updated_at_ms"),
    Index("workflow_triggers_workflow", "workflow_id"),
    Index("workflow_triggers_event", "project_id", "event_name"),
)

workflow_policies = Table(
    "workflow_policies",
    metadata,
    owner_column("workflow_id", "workflows.id", primary_key=True),
    # JSON, in ASCII, by node id.
    Column("policies", Text, nullable=False),
)

# Where the messages of a project's workflows go.
project_channels = Table(
    "project_channels",
    metadata,
    owner_column("project_id", "projects.id", primary_key=True),
    Column("url", Text, nullable=False),
)
