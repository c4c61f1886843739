"""Triggers and agent settings of functions, environment variables, who was deleted, end users' tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def _id(name: str, target: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(36), sa.ForeignKey(target, ondelete="CASCADE"), primary_key=True, nullable=False)


def upgrade() -> None:
    op.add_column("functions", sa.Column("triggers", sa.JSON(none_as_null=True)))
    op.add_column("functions", sa.Column("agent", sa.JSON(none_as_null=True)))
    op.add_column("invocations", sa.Column("stack", sa.Text))
    for table, owner in (("function_environments", "functions"), ("project_environments", "projects")):
        op.create_table(
            table,
            _id(owner[:-1] + "_id", owner + ".id"),
            sa.Column("sealed", sa.LargeBinary, nullable=False),
            sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        )
    op.create_table(
        "deleted_functions",
        _id("project_id", "projects.id"),
        sa.Column("name", sa.Text, primary_key=True, nullable=False),
        sa.Column("function_id", sa.String(36), nullable=False),
        sa.Column("deleted_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "token_settings",
        _id("project_id", "projects.id"),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
    )
