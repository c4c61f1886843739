"""The store names the master key that wraps its data keys, so that servers with another do not seal."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "master_key",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("key_id", sa.String(16), nullable=False),
    )
    op.execute("INSERT INTO master_key (id, key_id) SELECT 1, min(master_key_id) FROM data_keys HAVING count(*) > 0")
