"""The queue of jobs, the keys that make a call happen once, and the secrets that sign callbacks."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, Table, Text, text

from isolet.database.tables.columns import id_column, metadata, ms_column, owner_column, partial_index

# The queue is the rows themselves. The partial indexes hold only what waits or runs, so history costs a claim nothing.
jobs = Table(
    "jobs",
    metadata,
    id_column(),
    Column("kind", String(20), nullable=False),
    id_column("project_id", primary_key=False),
    id_column("function_id", primary_key=False),
    Column("function_name", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("target", Text, nullable=False),
    ms_column("created_at_ms"),
    ms_column("due_at_ms"),
    Column("body", LargeBinary, nullable=False),
    Column("parent_id", String(36)),
    Column("state", String(20), nullable=False),
    Column("lease_owner", String(36)),
    ms_column("lease_until_ms", nullable=True),
    Column("claims", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    ms_column("finished_at_ms", nullable=True),
    Column("result_body", LargeBinary, nullable=False),
    Column("error", Text),
    Column("history", Text, nullable=False),
    # Leases in a row that ended without an outcome.
    Column("crashes", Integer, nullable=False, server_default="0"),
    Column("body_bytes", BigInteger, nullable=False, server_default="0"),
    # What is to be done and what came of it, beside the bodies: texts that only the kind of the job reads.
    Column("payload", Text, nullable=False, server_default=text("''")),
    Column("result", Text, nullable=False, server_default=text("''")),
    # What it takes; from its first outcome on with what came of it.
    Column("kept_bytes", BigInteger, nullable=False, server_default="0"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    id_column("function_id"),
    Column("key", String(255), primary_key=True),
    Column("digest", LargeBinary(32), nullable=False),
    id_column("job_id", primary_key=False),
    ms_column("expires_at_ms"),
    Index("idempotency_keys_expiry", "expires_at_ms"),
)

webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    id_column(),
    owner_column("project_id", "projects.id"),
    Column("sealed", LargeBinary, nullable=False),
    ms_column("created_at_ms"),
    Index("webhook_secrets_project", "project_id"),
)

partial_index("jobs_queue", text("state = 'queued'"), jobs.c.kind, jobs.c.lane, jobs.c.due_at_ms)
partial_index("jobs_due", text("state = 'queued'"), jobs.c.kind, jobs.c.due_at_ms)
partial_index("jobs_leases", text("state = 'running'"), jobs.c.lease_owner)
partial_index("jobs_parent", text("parent_id IS NOT NULL"), jobs.c.parent_id)
partial_index("jobs_deliveries", text("kind = 'callback'"), jobs.c.project_id, jobs.c.state, jobs.c.id)
partial_index("jobs_open", text("finished_at_ms IS NULL"), jobs.c.project_id, jobs.c.kind, jobs.c.kept_bytes)
partial_index(
    "jobs_kept", text("finished_at_ms IS NOT NULL"), jobs.c.project_id, jobs.c.finished_at_ms, jobs.c.kept_bytes
)
partial_index("jobs_finished", text("finished_at_ms IS NOT NULL"), jobs.c.finished_at_ms)
