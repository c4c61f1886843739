"""Runs of workflows."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table, Text, UniqueConstraint, text

from isolet.database.tables.columns import id_column, metadata, ms_column, owner_column, partial_index

# What runs began with: the graph and its policies, once for all runs that began with the same.
flow_graphs = Table(
    "flow_graphs",
    metadata,
    Column("id", String(64), primary_key=True),
    id_column("project_id", primary_key=False),
    Column("graph", Text, nullable=False),
    ms_column("used_at_ms"),
    Index("flow_graphs_project", "project_id"),
)

# No foreign keys to projects and workflows: runs are deleted in small pieces.
executions = Table(
    "executions",
    metadata,
    id_column(),
    id_column("project_id", primary_key=False),
    id_column("workflow_id", primary_key=False),
    Column("workflow_name", Text, nullable=False),
    Column("status", String(20), nullable=False),
    Column("trigger", String(40), nullable=False),
    Column("tracking_id", Text, nullable=False),
    Column("graph_id", String(64), nullable=False),
    ms_column("started_at_ms"),
    ms_column("last_event_at_ms"),
    ms_column("ended_at_ms", nullable=True),
    Column("waiting_reason", String(40)),
    Column("pause", String(10)),
    Column("conversation_id", Text),
    Column("parent_id", String(36)),
    Column("child_id", String(36)),
    Column("depth", Integer, nullable=False),
    # The one job that may move it on.
    Column("job_id", String(36)),
    Column("step_id", String(36)),
    Column("node_id", Text),
    Column("node_type", String(40)),
    Column("steps", Integer, nullable=False),
    Column("events", Integer, nullable=False),
    Column("events_bytes", Integer, nullable=False),
    Column("undo_bytes", Integer, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("error", Text),
    # Last, since it may be large: who reads the others does not walk over it.
    Column("state", Text, nullable=False),
    Index("executions_project", "project_id", "id"),
    Index("executions_workflow", "workflow_id", "id"),
    Index("executions_status", "project_id", "status", "id"),
    Index("executions_graph", "graph_id"),
    Index("executions_ended", "ended_at_ms"),
)

execution_steps = Table(
    "execution_steps",
    metadata,
    id_column(),
    owner_column("execution_id", "executions.id"),
    Column("number", Integer, nullable=False),
    Column("node_id", Text, nullable=False),
    Column("node_type", String(40), nullable=False),
    Column("visit", Integer, nullable=False),
    Column("status", String(20), nullable=False),
    Column("attempts", Integer, nullable=False),
    ms_column("started_at_ms"),
    ms_column("ended_at_ms", nullable=True),
    Column("invocation_id", String(36)),
    Column("error", Text),
    Column("edge_label", Text),
    Column("superseded", Boolean, nullable=False),
    # How to get back to the variables before it; null when that is not kept any more.
    Column("undo", Text),
    UniqueConstraint("execution_id", "number", name="execution_steps_number"),
)

execution_events = Table(
    "execution_events",
    metadata,
    id_column(),
    owner_column("execution_id", "executions.id"),
    Column("number", Integer, nullable=False),
    Column("type", String(80), nullable=False),
    ms_column("created_at_ms"),
    Column("direction", String(20)),
    Column("edge_label", Text),
    Column("step_id", String(36)),
    Column("node_id", Text),
    Column("node_type", String(40)),
    Column("payload", Text, nullable=False),
    UniqueConstraint("execution_id", "number", name="execution_events_number"),
)

partial_index("executions_open", text("ended_at_ms IS NULL"), executions.c.project_id, executions.c.size_bytes)
