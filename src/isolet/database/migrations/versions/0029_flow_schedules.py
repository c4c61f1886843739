"""Schedules that name a workflow instead of a function."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    if sqlite:
        # SQLite writes the table anew, and with the old one it deletes the firings that belong to it.
        op.execute("CREATE TABLE firings_kept AS SELECT * FROM firings")
    with op.batch_alter_table("schedules") as batch:
        batch.alter_column("function_id", existing_type=sa.String(36), nullable=True)
        batch.add_column(sa.Column("workflow_id", sa.String(36)))
        batch.create_foreign_key("schedules_workflow", "workflows", ["workflow_id"], ["id"], ondelete="CASCADE")
        batch.create_unique_constraint("schedules_workflow_name", ["workflow_id", "name"])
    if sqlite:
        op.execute("INSERT INTO firings SELECT * FROM firings_kept WHERE id NOT IN (SELECT id FROM firings)")
        op.execute("DROP TABLE firings_kept")
