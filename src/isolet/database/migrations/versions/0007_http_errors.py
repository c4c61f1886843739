"""Roll-ups count the replies with a status of 400 or more."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rollups", sa.Column("http_errors", sa.BigInteger, nullable=False, server_default="0"))
    # Of the calls before, only those that failed on this side are known.
    op.execute("UPDATE rollups SET http_errors = errors")
