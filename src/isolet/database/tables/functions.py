"""Functions, their code and their versions."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from isolet.database.tables.columns import id_column, metadata, ms_column, owner_column

functions = Table(
    "functions",
    metadata,
    id_column(),
    owner_column("project_id", "projects.id"),
    Column("name", Text, nullable=False),
    Column("slug", String(100), nullable=False),
    Column("description", Text),
    Column("function_type", String(40), nullable=False),
    Column("response_mode", String(20), nullable=False),
    Column("public_endpoint", Boolean, nullable=False),
    Column("runtime_config", JSON(none_as_null=True)),
    Column("triggers", JSON(none_as_null=True)),
    Column("agent", JSON(none_as_null=True)),
    Column("limits", JSON, nullable=False),
    Column("status", String(20), nullable=False),
    Column("deploy_error", JSON(none_as_null=True)),
    Column("version", Integer),
    Column("env_revision", Integer, nullable=False, server_default="0"),
    Column("lock_version", Integer, nullable=False),
    Column("created_by_id", String(36)),
    ms_column("created_at_ms"),
    ms_column("updated_at_ms"),
    ms_column("last_deployed_at_ms", nullable=True),
    Column("retry", JSON(none_as_null=True)),
    # `door_settings`, named after the first API that had some.
    Column("altair", JSON(none_as_null=True)),
    Column("sealed_triggers", LargeBinary),
    Column("sealed_env", LargeBinary),
    Column("access", String(10), nullable=False, server_default="key"),
    Column("cors", String(10), nullable=False, server_default="platform"),
    Column("hosts", JSON(none_as_null=True)),
    Column("bindings", JSON(none_as_null=True)),
    Column("compatibility", JSON(none_as_null=True)),
    # What its sources and its versions take.
    Column("code_bytes", BigInteger, nullable=False, server_default="0"),
    # What its settings, variables and secrets take.
    Column("settings_bytes", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("project_id", "slug", name="functions_project_slug"),
    Index("functions_code", "project_id", "code_bytes"),
    Index("functions_settings", "project_id", "settings_bytes"),
)

# So that two functions never have one name. `functions.hosts` says the same, in the order of its owner.
function_hosts = Table(
    "function_hosts",
    metadata,
    Column("host", String(253), primary_key=True),
    owner_column("function_id", "functions.id"),
    Index("function_hosts_function", "function_id"),
)

# Apart from the functions, so that who reads those does not walk over megabytes of text. These, versions and
# deployments have no foreign key: they are deleted in steps (`isolet.database.leftovers`).
function_sources = Table(
    "function_sources",
    metadata,
    id_column("function_id"),
    Column("code", Text, nullable=False),
    # Where there are several; `code` is the entry then.
    Column("files", JSON(none_as_null=True)),
)

versions = Table(
    "versions",
    metadata,
    id_column("function_id"),
    Column("number", Integer, primary_key=True),
    Column("code", Text, nullable=False),
    Column("bundle", Text, nullable=False),
    Column("language", String(20), nullable=False),
    Column("files", JSON(none_as_null=True)),
    Column("modules", JSON(none_as_null=True)),
    Column("compatibility", JSON(none_as_null=True)),
    Column("limits", JSON, nullable=False),
    ms_column("created_at_ms"),
    Column("size_bytes", BigInteger, nullable=False, server_default="0"),
)

deployments = Table(
    "deployments",
    metadata,
    id_column(),
    id_column("function_id", primary_key=False),
    Column("code", Text, nullable=False),
    Column("files", JSON(none_as_null=True)),
    ms_column("created_at_ms"),
    ms_column("started_at_ms", nullable=True),
    Column("skipped", Integer, nullable=False, server_default="0"),
    Index("deployments_function", "function_id"),
)

# What was deleted by name, so that a new deploy of the name carries its id, and its records, on.
deleted_functions = Table(
    "deleted_functions",
    metadata,
    owner_column("project_id", "projects.id", primary_key=True),
    Column("name", Text, primary_key=True),
    Column("function_id", String(36), nullable=False),
    ms_column("deleted_at_ms"),
)
