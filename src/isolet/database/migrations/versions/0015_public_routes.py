"""Who may call a function at its public address, and under which host names: one function may have a name."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("functions", sa.Column("access", sa.String(10), nullable=False, server_default="key"))
    op.add_column("functions", sa.Column("cors", sa.String(10), nullable=False, server_default="platform"))
    op.add_column("functions", sa.Column("hosts", sa.JSON(none_as_null=True)))
    op.create_table(
        "function_hosts",
        sa.Column("host", sa.String(253), primary_key=True),
        sa.Column("function_id", sa.String(36), sa.ForeignKey("functions.id", ondelete="CASCADE"), nullable=False),
    )
    op.create_index("function_hosts_function", "function_hosts", ["function_id"])
