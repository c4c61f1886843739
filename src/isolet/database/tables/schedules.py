"""Schedules, when they fired, and triggers of whole projects."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, String, Table, Text, UniqueConstraint

from isolet.database.tables.columns import id_column, metadata, ms_column, owner_column

schedules = Table(
    "schedules",
    metadata,
    id_column(),
    owner_column("project_id", "projects.id"),
    # One of the two.
    owner_column("function_id", "functions.id", nullable=True),
    owner_column("workflow_id", "workflows.id", nullable=True, constraint="schedules_workflow"),
    Column("name", Text, nullable=False),
    Column("cron", Text, nullable=False),
    Column("dialect", String(20), nullable=False),
    Column("timezone", Text, nullable=False),
    Column("payload", JSON(none_as_null=True)),
    Column("policies", JSON, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("paused_reason", Text),
    # Up to when due times have been dealt with.
    ms_column("seen_ms"),
    ms_column("next_due_ms", nullable=True),
    # With jitter: what servers look for.
    ms_column("next_fire_ms", nullable=True),
    ms_column("last_due_ms", nullable=True),
    Column("last_status", String(20)),
    Column("missed_total", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),
    ms_column("created_at_ms"),
    ms_column("updated_at_ms"),
    Column("payload_bytes", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("function_id", "name", name="schedules_function_name"),
    UniqueConstraint("workflow_id", "name", name="schedules_workflow_name"),
    Index("schedules_next", "next_fire_ms"),
    # With the size, so that a project's payloads are added up without a look at them.
    Index("schedules_project", "project_id", "payload_bytes"),
)

firings = Table(
    "firings",
    metadata,
    # Of the job that runs it.
    id_column(),
    # No foreign key: they are deleted in steps (`isolet.database.leftovers`).
    id_column("schedule_id", primary_key=False),
    Column("key", String(80), nullable=False, unique=True),
    ms_column("due_ms"),
    ms_column("fired_at_ms"),
    Column("status", String(20), nullable=False),
    Column("counted", Boolean, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("invocation_id", String(36)),
    Index("firings_schedule", "schedule_id", "id"),
)

space_triggers = Table(
    "space_triggers",
    metadata,
    id_column(),
    owner_column("project_id", "projects.id"),
    Column("type", String(20), nullable=False),
    Column("description", Text, nullable=False),
    Column("config", JSON, nullable=False),
    ms_column("created_at_ms"),
    Index("space_triggers_project", "project_id"),
)
