"""What jobs that ended, versions and functions take, so that a project's are bounded in bytes."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    size = "octet_length" if op.get_bind().dialect.name == "postgresql" else "length"

    def sizes(*names: str) -> str:
        return " + ".join(f"coalesce({size}(CAST({name} AS TEXT)), 0)" for name in names)

    op.add_column("jobs", sa.Column("kept_bytes", sa.BigInteger, nullable=False, server_default="0"))
    op.execute(
        "UPDATE jobs SET kept_bytes = 1000 + body_bytes + "  # noqa: S608 – our names
        f"{size}(result_body) + length(payload) + length(result) + length(history)"
    )
    ended = sa.text("finished_at_ms IS NOT NULL")
    columns = ["project_id", "finished_at_ms", "kept_bytes"]
    op.create_index("jobs_kept", "jobs", columns, sqlite_where=ended, postgresql_where=ended)

    op.add_column("versions", sa.Column("size_bytes", sa.BigInteger, nullable=False, server_default="0"))
    op.execute(f"UPDATE versions SET size_bytes = {sizes('code', 'bundle', 'files', 'modules')}")  # noqa: S608
    op.add_column("functions", sa.Column("code_bytes", sa.BigInteger, nullable=False, server_default="0"))
    op.execute(
        f"UPDATE functions SET code_bytes = coalesce((SELECT {sizes('code', 'files')} FROM function_sources "  # noqa: S608
        "WHERE function_sources.function_id = functions.id), 0) "
        "+ coalesce((SELECT sum(size_bytes) FROM versions WHERE versions.function_id = functions.id), 0)"
    )
    op.create_index("functions_code", "functions", ["project_id", "code_bytes"])
