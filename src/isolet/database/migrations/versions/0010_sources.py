"""The code of functions in a table of its own; which deploys have begun."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "function_sources",
        sa.Column(
            "function_id",
            sa.String(36),
            sa.ForeignKey("functions.id", ondelete="CASCADE"),
            primary_key=True,
            nullable=False,
        ),
        sa.Column("code", sa.Text, nullable=False),
    )
    op.execute("INSERT INTO function_sources (function_id, code) SELECT id, code FROM functions")
    # Alembic copies the whole table on SQLite, and what hangs on its rows would go with the old one.
    op.execute("ALTER TABLE functions DROP COLUMN code")
    op.add_column("deployments", sa.Column("started_at_ms", sa.BigInteger))
    op.add_column("deployments", sa.Column("skipped", sa.Integer, nullable=False, server_default="0"))
    op.create_index("deployments_function", "deployments", ["function_id"])
