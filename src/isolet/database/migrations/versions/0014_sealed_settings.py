"""Secrets of triggers and Altair's variables are sealed; the server seals what is there, since a migration cannot."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("functions", sa.Column("sealed_triggers", sa.LargeBinary))
    op.add_column("functions", sa.Column("sealed_env", sa.LargeBinary))
    bind = op.get_bind()
    if bind.dialect.name == "sqlite" and bind.execute(sa.text("SELECT count(*) FROM projects")).scalar() == 0:
        # A new file never held anything in clear: see `isolet.database.scrubbing`.
        op.execute("PRAGMA user_version = 1")
