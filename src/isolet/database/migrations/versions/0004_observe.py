"""What a call was asked with and what it used; roll-ups of calls; indexes for looking."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_FAILED = sa.text("(status < 200 OR status >= 300)")
_UNUSUAL = sa.text("kind <> 'sync'")


def upgrade() -> None:
    for added in (
        sa.Column("query", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("request_headers", sa.LargeBinary, nullable=False, server_default=sa.text("''")),
        sa.Column("request_redacted", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("response_bytes", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("memory_bytes", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("memory_limit_mb", sa.Integer, nullable=False, server_default="0"),
    ):
        op.add_column("invocations", added)
    for owner in ("function", "project"):
        for name, column, where in (("failed", "status", _FAILED), ("unusual", "kind", _UNUSUAL)):
            index, columns = f"invocations_{owner}_{name}", [f"{owner}_id", "id", column]
            op.create_index(index, "invocations", columns, sqlite_where=where, postgresql_where=where)
    _create_rollups()


def _key() -> tuple[sa.Column[str], sa.Column[str], sa.Column[int]]:
    return (
        sa.Column("function_id", sa.String(36), primary_key=True),
        sa.Column("step", sa.String(6), primary_key=True),
        sa.Column("at_ms", sa.BigInteger, primary_key=True),
    )


def _create_rollups() -> None:
    sums = ("total", "errors", "faults", "duration_us", "cold_starts", "cold_start_us", "mb_us", "egress_bytes")
    op.create_table(
        "rollups",
        *_key(),
        sa.Column("project_id", sa.String(36), nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in sums),
        sa.Column("memory_bytes", sa.BigInteger, nullable=False),
        sa.Column("last_at_ms", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("rollups_project", "rollups", ["project_id", "step", "at_ms"])
    op.create_index("rollups_step", "rollups", ["step", "at_ms"])
    op.create_table(
        "rollup_durations",
        *_key(),
        sa.Column("bucket", sa.Integer, primary_key=True),
        sa.Column("total", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("rollup_durations_step", "rollup_durations", ["step", "at_ms"])
