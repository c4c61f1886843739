"""What jobs take that have not ended is in the index by which it is summed, with their headers and addresses."""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    size = "octet_length" if op.get_bind().dialect.name == "postgresql" else "length"
    taken = f"body_bytes + length(payload) + length(target) + length(result) + {size}(result_body)"
    op.execute(f"UPDATE jobs SET kept_bytes = {taken} WHERE finished_at_ms IS NULL")  # noqa: S608 – no input
    ended = "finished_at_ms IS NOT NULL AND target <> ''"
    op.execute(f"UPDATE jobs SET kept_bytes = kept_bytes + length(target) WHERE {ended}")  # noqa: S608 – no input
    op.drop_index("jobs_open", table_name="jobs")
    still_open = sa.text("finished_at_ms IS NULL")
    columns = ["project_id", "kind", "kept_bytes"]
    op.create_index("jobs_open", "jobs", columns, sqlite_where=still_open, postgresql_where=still_open)
