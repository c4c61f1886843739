"""The requests that calls made, in their records."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("invocations", sa.Column("outgoing", sa.Text, nullable=False, server_default=sa.text("''")))
