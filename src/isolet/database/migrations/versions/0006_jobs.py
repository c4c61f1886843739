"""Durable jobs, their idempotency keys, secrets that sign callbacks, OAuth tokens, retry settings of functions."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_QUEUED = sa.text("state = 'queued'")
_RUNNING = sa.text("state = 'running'")


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("project_id", sa.String(36), nullable=False),
        sa.Column("function_id", sa.String(36), nullable=False),
        sa.Column("function_name", sa.Text, nullable=False),
        sa.Column("lane", sa.Text, nullable=False),
        sa.Column("method", sa.String(20), nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("due_at_ms", sa.BigInteger, nullable=False),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("parent_id", sa.String(36)),
        sa.Column("callback_url", sa.Text),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("lease_owner", sa.String(36)),
        sa.Column("lease_until_ms", sa.BigInteger),
        sa.Column("claims", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("finished_at_ms", sa.BigInteger),
        sa.Column("result_status", sa.Integer),
        sa.Column("result_headers", sa.Text, nullable=False),
        sa.Column("result_body", sa.LargeBinary, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("history", sa.Text, nullable=False),
    )
    op.create_index("jobs_queue", "jobs", ["kind", "lane", "due_at_ms"], sqlite_where=_QUEUED, postgresql_where=_QUEUED)
    op.create_index("jobs_due", "jobs", ["kind", "due_at_ms"], sqlite_where=_QUEUED, postgresql_where=_QUEUED)
    op.create_index("jobs_leases", "jobs", ["lease_owner"], sqlite_where=_RUNNING, postgresql_where=_RUNNING)
    has_parent = sa.text("parent_id IS NOT NULL")
    op.create_index("jobs_parent", "jobs", ["parent_id"], sqlite_where=has_parent, postgresql_where=has_parent)
    callbacks = sa.text("kind = 'callback'")
    op.create_index(
        "jobs_deliveries", "jobs", ["project_id", "state", "id"], sqlite_where=callbacks, postgresql_where=callbacks
    )
    ended = sa.text("finished_at_ms IS NOT NULL")
    op.create_index("jobs_finished", "jobs", ["finished_at_ms"], sqlite_where=ended, postgresql_where=ended)
    op.create_table(
        "idempotency_keys",
        sa.Column("function_id", sa.String(36), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("job_id", sa.String(36), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("idempotency_keys_expiry", "idempotency_keys", ["expires_at_ms"])
    op.create_table(
        "webhook_secrets",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("project_id", sa.String(36), sa.ForeignKey("projects.id", ondelete="CASCADE"), nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("webhook_secrets_project", "webhook_secrets", ["project_id"])
    op.create_table(
        "oauth_tokens",
        sa.Column("digest", sa.LargeBinary(32), primary_key=True),
        sa.Column("key_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
    )
    op.add_column("functions", sa.Column("retry", sa.JSON(none_as_null=True)))
    op.add_column("functions", sa.Column("altair", sa.JSON(none_as_null=True)))
