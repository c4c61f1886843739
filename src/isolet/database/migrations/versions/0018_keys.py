"""When keys expire and were last used, and which networks a project's functions may reach."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("expires_at_ms", sa.BigInteger))
    op.add_column("api_keys", sa.Column("last_used_at_ms", sa.BigInteger))
    op.add_column("projects", sa.Column("egress_allow", sa.JSON(none_as_null=True)))
