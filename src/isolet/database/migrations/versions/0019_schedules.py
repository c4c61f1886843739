"""Schedules of functions, and their firings."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "schedules",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("project_id", sa.String(36), sa.ForeignKey("projects.id", ondelete="CASCADE"), nullable=False),
        sa.Column("function_id", sa.String(36), sa.ForeignKey("functions.id", ondelete="CASCADE"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("cron", sa.Text, nullable=False),
        sa.Column("dialect", sa.String(20), nullable=False),
        sa.Column("timezone", sa.Text, nullable=False),
        sa.Column("payload", sa.JSON(none_as_null=True)),
        sa.Column("policies", sa.JSON, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("paused_reason", sa.Text),
        sa.Column("seen_ms", sa.BigInteger, nullable=False),
        sa.Column("next_due_ms", sa.BigInteger),
        sa.Column("next_fire_ms", sa.BigInteger),
        sa.Column("last_due_ms", sa.BigInteger),
        sa.Column("last_status", sa.String(20)),
        sa.Column("missed_total", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("function_id", "name", name="schedules_function_name"),
    )
    op.create_index("schedules_next", "schedules", ["next_fire_ms"])
    op.create_index("schedules_project", "schedules", ["project_id"])
    op.create_table(
        "firings",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("schedule_id", sa.String(36), sa.ForeignKey("schedules.id", ondelete="CASCADE"), nullable=False),
        sa.Column("key", sa.String(80), nullable=False, unique=True),
        sa.Column("due_ms", sa.BigInteger, nullable=False),
        sa.Column("fired_at_ms", sa.BigInteger, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("counted", sa.Boolean, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("invocation_id", sa.String(36)),
    )
    op.create_index("firings_schedule", "firings", ["schedule_id", "id"])
