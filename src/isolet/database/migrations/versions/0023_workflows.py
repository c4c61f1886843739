"""Workflows with their graphs, and what starts them."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "workflows",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("project_id", sa.String(36), sa.ForeignKey("projects.id", ondelete="CASCADE"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("slug", sa.String(100), nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("lock_version", sa.BigInteger, nullable=False),
        sa.Column("message_debounce_seconds", sa.Integer, nullable=False),
        sa.Column("inbound_message_read_mode", sa.String(20), nullable=False),
        sa.Column("agent_default_tools_version", sa.Integer),
        sa.Column("calls", sa.JSON, nullable=False),
        sa.Column("graph_bytes", sa.BigInteger, nullable=False),
        sa.Column("execution_count", sa.BigInteger, nullable=False),
        sa.Column("last_executed_at_ms", sa.BigInteger),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("project_id", "name", name="workflows_project_name"),
        sa.UniqueConstraint("project_id", "slug", name="workflows_project_slug"),
    )
    op.create_table(
        "workflow_graphs",
        sa.Column("workflow_id", sa.String(36), sa.ForeignKey("workflows.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("graph", sa.Text, nullable=False),
    )
    op.create_table(
        "workflow_triggers",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("project_id", sa.String(36), sa.ForeignKey("projects.id", ondelete="CASCADE"), nullable=False),
        sa.Column("workflow_id", sa.String(36), sa.ForeignKey("workflows.id", ondelete="CASCADE"), nullable=False),
        sa.Column("type", sa.String(20), nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("event_name", sa.String(128)),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("workflow_triggers_workflow", "workflow_triggers", ["workflow_id"])
    op.create_index("workflow_triggers_event", "workflow_triggers", ["project_id", "event_name"])
