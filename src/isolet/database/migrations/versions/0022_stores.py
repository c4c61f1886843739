"""Stores of a project under names of their own, and the functions that reach them."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("functions", sa.Column("bindings", sa.JSON(none_as_null=True)))
    op.create_table(
        "stores",
        sa.Column("project_id", sa.String(36), sa.ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("kind", sa.String(10), primary_key=True),
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    )
