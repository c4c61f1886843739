"""The tables, as the newest migration leaves them."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

metadata = MetaData()


def _id(name: str = "id", *, primary_key: bool = True) -> Column[str]:
    return Column(name, String(36), primary_key=primary_key, nullable=False)


def _owner(name: str, target: str, *, primary_key: bool = False, nullable: bool = False) -> Column[str]:
    key = ForeignKey(target, ondelete="CASCADE")
    return Column(name, String(36), key, primary_key=primary_key, nullable=nullable)


def _ms(name: str, *, nullable: bool = False) -> Column[int]:
    """Milliseconds since the epoch."""
    return Column(name, BigInteger, nullable=nullable)


projects = Table(
    "projects",
    metadata,
    _id(),
    Column("slug", String(63), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("plan", String(20), nullable=False),
    Column("allowed_origins", JSON, nullable=False),
    Column("limits", JSON),
    Column("egress_allow", JSON(none_as_null=True)),
    _ms("created_at_ms"),
)

api_keys = Table(
    "api_keys",
    metadata,
    _id(),
    _owner("project_id", "projects.id"),
    Column("name", Text, nullable=False),
    Column("role", String(20), nullable=False),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    _ms("created_at_ms"),
    _ms("expires_at_ms", nullable=True),
    _ms("last_used_at_ms", nullable=True),
    Index("api_keys_project", "project_id"),
)

stores = Table(
    "stores",
    metadata,
    _owner("project_id", "projects.id", primary_key=True),
    Column("kind", String(10), primary_key=True),
    Column("name", String(63), primary_key=True),
    _ms("created_at_ms"),
)

functions = Table(
    "functions",
    metadata,
    _id(),
    _owner("project_id", "projects.id"),
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
    _ms("created_at_ms"),
    _ms("updated_at_ms"),
    _ms("last_deployed_at_ms", nullable=True),
    Column("retry", JSON(none_as_null=True)),
    Column("altair", JSON(none_as_null=True)),
    Column("sealed_triggers", LargeBinary),
    Column("sealed_env", LargeBinary),
    Column("access", String(10), nullable=False, server_default="key"),
    Column("cors", String(10), nullable=False, server_default="platform"),
    Column("hosts", JSON(none_as_null=True)),
    Column("bindings", JSON(none_as_null=True)),
    Column("compatibility", JSON(none_as_null=True)),
    UniqueConstraint("project_id", "slug", name="functions_project_slug"),
)

# So that two functions never have one name. `functions.hosts` says the same, in the order of its owner.
function_hosts = Table(
    "function_hosts",
    metadata,
    Column("host", String(253), primary_key=True),
    _owner("function_id", "functions.id"),
    Index("function_hosts_function", "function_id"),
)

# Apart from the functions, so that who reads those does not walk over megabytes of text.
function_sources = Table(
    "function_sources",
    metadata,
    _owner("function_id", "functions.id", primary_key=True),
    Column("code", Text, nullable=False),
    # Where there are several; `code` is the entry then.
    Column("files", JSON(none_as_null=True)),
)

versions = Table(
    "versions",
    metadata,
    _owner("function_id", "functions.id", primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("code", Text, nullable=False),
    Column("bundle", Text, nullable=False),
    Column("language", String(20), nullable=False),
    Column("files", JSON(none_as_null=True)),
    Column("modules", JSON(none_as_null=True)),
    Column("compatibility", JSON(none_as_null=True)),
    Column("limits", JSON, nullable=False),
    _ms("created_at_ms"),
)

deployments = Table(
    "deployments",
    metadata,
    _id(),
    _owner("function_id", "functions.id"),
    Column("code", Text, nullable=False),
    Column("files", JSON(none_as_null=True)),
    _ms("created_at_ms"),
    _ms("started_at_ms", nullable=True),
    Column("skipped", Integer, nullable=False, server_default="0"),
    Index("deployments_function", "function_id"),
)

data_keys = Table(
    "data_keys",
    metadata,
    _owner("project_id", "projects.id", primary_key=True),
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

secrets = Table(
    "secrets",
    metadata,
    _owner("function_id", "functions.id", primary_key=True),
    Column("name", String(128), primary_key=True),
    Column("type", String(20), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    _ms("created_at_ms"),
)

function_environments = Table(
    "function_environments",
    metadata,
    _owner("function_id", "functions.id", primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    _ms("updated_at_ms"),
)

project_environments = Table(
    "project_environments",
    metadata,
    _owner("project_id", "projects.id", primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    _ms("updated_at_ms"),
)

# What was deleted by name, so that a new deploy of the name carries its id, and its records, on.
deleted_functions = Table(
    "deleted_functions",
    metadata,
    _owner("project_id", "projects.id", primary_key=True),
    Column("name", Text, primary_key=True),
    Column("function_id", String(36), nullable=False),
    _ms("deleted_at_ms"),
)

token_settings = Table(
    "token_settings",
    metadata,
    _owner("project_id", "projects.id", primary_key=True),
    Column("settings", JSON, nullable=False),
    Column("sealed_secret", LargeBinary),
    _ms("updated_at_ms"),
)

# No foreign keys: records outlive their function until they age out.
invocations = Table(
    "invocations",
    metadata,
    _id(),
    _id("project_id", primary_key=False),
    _id("function_id", primary_key=False),
    Column("function_name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("door", String(20), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("method", String(20), nullable=False),
    Column("path", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("outcome", String(20), nullable=False),
    _ms("started_at_ms"),
    Column("duration_us", BigInteger, nullable=False),
    Column("cold_start_us", BigInteger, nullable=False),
    Column("queue_us", BigInteger, nullable=False, server_default="0"),
    Column("kill_report", JSON(none_as_null=True)),
    Column("error", Text),
    Column("stack", Text),
    Column("request_body", LargeBinary, nullable=False),
    Column("request_truncated", Boolean, nullable=False),
    Column("response_body", LargeBinary, nullable=False),
    Column("response_truncated", Boolean, nullable=False),
    Column("console", Text, nullable=False),
    Column("outgoing", Text, nullable=False, server_default=text("''")),
    Column("query", Text, nullable=False, server_default=text("''")),
    Column("request_headers", LargeBinary, nullable=False, server_default=text("''")),
    Column("request_redacted", Boolean, nullable=False, server_default=false()),
    Column("response_bytes", BigInteger, nullable=False, server_default="0"),
    Column("memory_bytes", BigInteger, nullable=False, server_default="0"),
    Column("memory_limit_mb", Integer, nullable=False, server_default="0"),
    Column("size_bytes", BigInteger, nullable=False, server_default="0"),
    Index("invocations_function", "function_id", "id"),
    # With the size, so that a project's records are added up without a look at them.
    Index("invocations_project", "project_id", "id", "size_bytes"),
)

# The conditions of indexes in `partial_indexes`: a query that says one of them word for word reads only what is rare.
NOT_SUCCEEDED = text("(status < 200 OR status >= 300)")
NOT_SYNC = text("kind <> 'sync'")

# Sums of calls for each function and minute, hour and month: see `isolet.domain.metrics`.
ROLLUP_SUMS = (
    *("total", "errors", "faults", "duration_us", "cold_starts", "cold_start_us", "mb_us", "egress_bytes"),
    "http_errors",
)
rollups = Table(
    "rollups",
    metadata,
    _id("function_id"),
    Column("step", String(6), primary_key=True),
    Column("at_ms", BigInteger, primary_key=True),
    _id("project_id", primary_key=False),
    *(Column(name, BigInteger, nullable=False) for name in ROLLUP_SUMS[:-1]),
    Column("http_errors", BigInteger, nullable=False, server_default="0"),
    Column("memory_bytes", BigInteger, nullable=False),
    _ms("last_at_ms"),
    Index("rollups_project", "project_id", "step", "at_ms"),
    Index("rollups_step", "step", "at_ms"),
    sqlite_with_rowid=False,
)

# How many calls of a roll-up took how long: see `isolet.domain.durations`.
rollup_durations = Table(
    "rollup_durations",
    metadata,
    _id("function_id"),
    Column("step", String(6), primary_key=True),
    Column("at_ms", BigInteger, primary_key=True),
    Column("bucket", Integer, primary_key=True),
    Column("total", BigInteger, nullable=False),
    Index("rollup_durations_step", "step", "at_ms"),
    sqlite_with_rowid=False,
)

# The queue is the rows themselves. The partial indexes hold only what waits or runs, so history costs a claim nothing.
jobs = Table(
    "jobs",
    metadata,
    _id(),
    Column("kind", String(20), nullable=False),
    _id("project_id", primary_key=False),
    _id("function_id", primary_key=False),
    Column("function_name", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("target", Text, nullable=False),
    _ms("created_at_ms"),
    _ms("due_at_ms"),
    Column("body", LargeBinary, nullable=False),
    Column("parent_id", String(36)),
    Column("state", String(20), nullable=False),
    Column("lease_owner", String(36)),
    _ms("lease_until_ms", nullable=True),
    Column("claims", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    _ms("finished_at_ms", nullable=True),
    Column("result_body", LargeBinary, nullable=False),
    Column("error", Text),
    Column("history", Text, nullable=False),
    # Leases in a row that ended without an outcome.
    Column("crashes", Integer, nullable=False, server_default="0"),
    Column("body_bytes", BigInteger, nullable=False, server_default="0"),
    # What is to be done and what came of it, beside the bodies: texts that only the kind of the job reads.
    Column("payload", Text, nullable=False, server_default=text("''")),
    Column("result", Text, nullable=False, server_default=text("''")),
)

# One row: where this database was when a server last started on it.
database_place = Table(
    "database_place",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("place", Text, nullable=False),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    _id("function_id"),
    Column("key", String(255), primary_key=True),
    Column("digest", LargeBinary(32), nullable=False),
    _id("job_id", primary_key=False),
    _ms("expires_at_ms"),
    Index("idempotency_keys_expiry", "expires_at_ms"),
)

webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    _id(),
    _owner("project_id", "projects.id"),
    Column("sealed", LargeBinary, nullable=False),
    _ms("created_at_ms"),
    Index("webhook_secrets_project", "project_id"),
)

agent_models = Table(
    "agent_models",
    metadata,
    _owner("project_id", "projects.id", primary_key=True),
    Column("base_url", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("streams", Boolean, nullable=False),
    Column("sealed_key", LargeBinary),
)

oauth_tokens = Table(
    "oauth_tokens",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("key_digest", LargeBinary(32), nullable=False),
    _ms("expires_at_ms"),
)

schedules = Table(
    "schedules",
    metadata,
    _id(),
    _owner("project_id", "projects.id"),
    # One of the two.
    _owner("function_id", "functions.id", nullable=True),
    _owner("workflow_id", "workflows.id", nullable=True),
    Column("name", Text, nullable=False),
    Column("cron", Text, nullable=False),
    Column("dialect", String(20), nullable=False),
    Column("timezone", Text, nullable=False),
    Column("payload", JSON(none_as_null=True)),
    Column("policies", JSON, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("paused_reason", Text),
    # Up to when due times have been dealt with.
    _ms("seen_ms"),
    _ms("next_due_ms", nullable=True),
    # With jitter: what servers look for.
    _ms("next_fire_ms", nullable=True),
    _ms("last_due_ms", nullable=True),
    Column("last_status", String(20)),
    Column("missed_total", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),
    _ms("created_at_ms"),
    _ms("updated_at_ms"),
    UniqueConstraint("function_id", "name", name="schedules_function_name"),
    UniqueConstraint("workflow_id", "name", name="schedules_workflow_name"),
    Index("schedules_next", "next_fire_ms"),
    Index("schedules_project", "project_id"),
)

firings = Table(
    "firings",
    metadata,
    # Of the job that runs it.
    _id(),
    _owner("schedule_id", "schedules.id"),
    Column("key", String(80), nullable=False, unique=True),
    _ms("due_ms"),
    _ms("fired_at_ms"),
    Column("status", String(20), nullable=False),
    Column("counted", Boolean, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("invocation_id", String(36)),
    Index("firings_schedule", "schedule_id", "id"),
)

realtime_settings = Table(
    "realtime_settings",
    metadata,
    _owner("project_id", "projects.id", primary_key=True),
    Column("settings", JSON, nullable=False),
    _ms("updated_at_ms"),
)

realtime_channels = Table(
    "realtime_channels",
    metadata,
    _owner("project_id", "projects.id", primary_key=True),
    Column("name", Text, primary_key=True),
    # The number of the newest message.
    Column("seq", BigInteger, nullable=False),
    _ms("last_at_ms"),
    Index("realtime_channels_last", "last_at_ms"),
    sqlite_with_rowid=False,
)

# Only the newest of each channel, and only for some minutes.
realtime_messages = Table(
    "realtime_messages",
    metadata,
    _owner("project_id", "projects.id", primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("event", Text, nullable=False),
    Column("data", Text, nullable=False),
    _ms("at_ms"),
    Index("realtime_messages_at", "at_ms"),
)

space_triggers = Table(
    "space_triggers",
    metadata,
    _id(),
    _owner("project_id", "projects.id"),
    Column("type", String(20), nullable=False),
    Column("description", Text, nullable=False),
    Column("config", JSON, nullable=False),
    _ms("created_at_ms"),
    Index("space_triggers_project", "project_id"),
)

workflows = Table(
    "workflows",
    metadata,
    _id(),
    _owner("project_id", "projects.id"),
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
    _ms("last_executed_at_ms", nullable=True),
    _ms("created_at_ms"),
    _ms("updated_at_ms"),
    UniqueConstraint("project_id", "name", name="workflows_project_name"),
    UniqueConstraint("project_id", "slug", name="workflows_project_slug"),
)

# Apart, since a graph may be large, and a workflow is written with each run of it.
workflow_graphs = Table(
    "workflow_graphs",
    metadata,
    _owner("workflow_id", "workflows.id", primary_key=True),
    # JSON, in ASCII: what its texts hold may be what no column of text takes.
    Column("graph", Text, nullable=False),
)

workflow_triggers = Table(
    "workflow_triggers",
    metadata,
    _id(),
    _owner("project_id", "projects.id"),
    _owner("workflow_id", "workflows.id"),
    Column("type", String(20), nullable=False),
    Column("active", Boolean, nullable=False),
    # Of a project event.
    Column("event_name", String(128)),
    # JSON, in ASCII.
    Column("settings", Text, nullable=False),
    _ms("created_at_ms"),
    _ms("updated_at_ms"),
    Index("workflow_triggers_workflow", "workflow_id"),
    Index("workflow_triggers_event", "project_id", "event_name"),
)

# The token is random; its HMAC is of no use to who reads it here.
sessions = Table(
    "sessions",
    metadata,
    _id(),
    Column("token_digest", LargeBinary(32), nullable=False, unique=True),
    Column("key_id", String(36), ForeignKey("api_keys.id", ondelete="CASCADE")),
    Column("key_digest", LargeBinary(32)),
    Column("project_id", String(36)),
    Column("agent", Text, nullable=False),
    _ms("created_at_ms"),
    _ms("used_at_ms"),
    Index("sessions_key", "key_id"),
)

# What runs began with: the graph and its policies, once for all runs that began with the same.
flow_graphs = Table(
    "flow_graphs",
    metadata,
    Column("id", String(64), primary_key=True),
    _id("project_id", primary_key=False),
    Column("graph", Text, nullable=False),
    _ms("used_at_ms"),
    Index("flow_graphs_project", "project_id"),
)

# No foreign keys to projects and workflows: runs are deleted in small pieces.
executions = Table(
    "executions",
    metadata,
    _id(),
    _id("project_id", primary_key=False),
    _id("workflow_id", primary_key=False),
    Column("workflow_name", Text, nullable=False),
    Column("status", String(20), nullable=False),
    Column("trigger", String(40), nullable=False),
    Column("tracking_id", Text, nullable=False),
    Column("graph_id", String(64), nullable=False),
    _ms("started_at_ms"),
    _ms("last_event_at_ms"),
    _ms("ended_at_ms", nullable=True),
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
    Index("executions_graph", "graph_id"),
    Index("executions_ended", "ended_at_ms"),
)

execution_steps = Table(
    "execution_steps",
    metadata,
    _id(),
    _owner("execution_id", "executions.id"),
    Column("number", Integer, nullable=False),
    Column("node_id", Text, nullable=False),
    Column("node_type", String(40), nullable=False),
    Column("visit", Integer, nullable=False),
    Column("status", String(20), nullable=False),
    Column("attempts", Integer, nullable=False),
    _ms("started_at_ms"),
    _ms("ended_at_ms", nullable=True),
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
    _id(),
    _owner("execution_id", "executions.id"),
    Column("number", Integer, nullable=False),
    Column("type", String(80), nullable=False),
    _ms("created_at_ms"),
    Column("direction", String(20)),
    Column("edge_label", Text),
    Column("step_id", String(36)),
    Column("node_id", Text),
    Column("node_type", String(40)),
    Column("payload", Text, nullable=False),
    UniqueConstraint("execution_id", "number", name="execution_events_number"),
)

workflow_policies = Table(
    "workflow_policies",
    metadata,
    _owner("workflow_id", "workflows.id", primary_key=True),
    # JSON, in ASCII, by node id.
    Column("policies", Text, nullable=False),
)

# Where the messages of a project's workflows go.
project_channels = Table(
    "project_channels",
    metadata,
    _owner("project_id", "projects.id", primary_key=True),
    Column("url", Text, nullable=False),
)
