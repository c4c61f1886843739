"""Runs by their status, so that those which are rare are found among many others."""

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("executions_status", "executions", ["project_id", "status", "id"])
