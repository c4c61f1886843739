"""Jobs count how often their server ended, and know the size of their body; open ones are found by their project."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("crashes", sa.Integer, nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("body_bytes", sa.BigInteger, nullable=False, server_default="0"))
    size = "octet_length" if op.get_bind().dialect.name == "postgresql" else "length"
    op.execute(f"UPDATE jobs SET body_bytes = {size}(body)")  # noqa: S608 – one of two names
    # Their end was asked for before they were put back, which earlier versions forgot.
    op.execute(
        "UPDATE jobs SET state = 'cancelled', finished_at_ms = created_at_ms "
        "WHERE state = 'queued' AND cancel_requested"
    )
    still_open = sa.text("finished_at_ms IS NULL")
    op.create_index(
        "jobs_open", "jobs", ["project_id", "body_bytes"], sqlite_where=still_open, postgresql_where=still_open
    )
