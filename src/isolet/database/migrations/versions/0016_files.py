"""Functions of several files, modules that are not text, and the runtime's behaviour that functions want."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_FILES = ("function_sources", "versions", "deployments")


def upgrade() -> None:
    for table in _FILES:
        op.add_column(table, sa.Column("files", sa.JSON(none_as_null=True)))
    op.add_column("versions", sa.Column("modules", sa.JSON(none_as_null=True)))
    for table in ("functions", "versions"):
        op.add_column(table, sa.Column("compatibility", sa.JSON(none_as_null=True)))
