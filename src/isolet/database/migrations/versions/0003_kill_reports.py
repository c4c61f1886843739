"""What ended a call from outside, and how long it waited for room."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("invocations", sa.Column("kill_report", sa.JSON(none_as_null=True)))
    op.add_column("invocations", sa.Column("queue_us", sa.BigInteger, nullable=False, server_default="0"))
