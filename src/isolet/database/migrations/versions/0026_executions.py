"""Runs of workflows: what they began with, their steps and their events."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "flow_graphs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("project_id", sa.String(36), nullable=False),
        sa.Column("graph", sa.Text, nullable=False),
        sa.Column("used_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("flow_graphs_project", "flow_graphs", ["project_id"])
    op.create_table(
        "executions",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("project_id", sa.String(36), nullable=False),
        sa.Column("workflow_id", sa.String(36), nullable=False),
        sa.Column("workflow_name", sa.Text, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("trigger", sa.String(40), nullable=False),
        sa.Column("tracking_id", sa.Text, nullable=False),
        sa.Column("graph_id", sa.String(64), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger, nullable=False),
        sa.Column("last_event_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger),
        sa.Column("waiting_reason", sa.String(40)),
        sa.Column("pause", sa.String(10)),
        sa.Column("conversation_id", sa.Text),
        sa.Column("parent_id", sa.String(36)),
        sa.Column("child_id", sa.String(36)),
        sa.Column("depth", sa.Integer, nullable=False),
        sa.Column("job_id", sa.String(36)),
        sa.Column("step_id", sa.String(36)),
        sa.Column("node_id", sa.Text),
        sa.Column("node_type", sa.String(40)),
        sa.Column("steps", sa.Integer, nullable=False),
        sa.Column("events", sa.Integer, nullable=False),
        sa.Column("events_bytes", sa.Integer, nullable=False),
        sa.Column("undo_bytes", sa.Integer, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
    )
    op.create_index("executions_project", "executions", ["project_id", "id"])
    op.create_index("executions_workflow", "executions", ["workflow_id", "id"])
    op.create_index("executions_graph", "executions", ["graph_id"])
    op.create_index("executions_ended", "executions", ["ended_at_ms"])
    still_open = sa.text("ended_at_ms IS NULL")
    op.create_index(
        "executions_open",
        "executions",
        ["project_id", "size_bytes"],
        sqlite_where=still_open,
        postgresql_where=still_open,
    )
    _create_steps()
    _create_events()


def _execution() -> "sa.Column[str]":
    return sa.Column("execution_id", sa.String(36), sa.ForeignKey("executions.id", ondelete="CASCADE"), nullable=False)


def _create_steps() -> None:
    op.create_table(
        "execution_steps",
        sa.Column("id", sa.String(36), primary_key=True),
        _execution(),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("node_id", sa.Text, nullable=False),
        sa.Column("node_type", sa.String(40), nullable=False),
        sa.Column("visit", sa.Integer, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("started_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger),
        sa.Column("invocation_id", sa.String(36)),
        sa.Column("error", sa.Text),
        sa.Column("edge_label", sa.Text),
        sa.Column("superseded", sa.Boolean, nullable=False),
        sa.Column("undo", sa.Text),
        sa.UniqueConstraint("execution_id", "number", name="execution_steps_number"),
    )


def _create_events() -> None:
    op.create_table(
        "execution_events",
        sa.Column("id", sa.String(36), primary_key=True),
        _execution(),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("type", sa.String(80), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("direction", sa.String(20)),
        sa.Column("edge_label", sa.Text),
        sa.Column("step_id", sa.String(36)),
        sa.Column("node_id", sa.Text),
        sa.Column("node_type", sa.String(40)),
        sa.Column("payload", sa.Text, nullable=False),
        sa.UniqueConstraint("execution_id", "number", name="execution_events_number"),
    )
