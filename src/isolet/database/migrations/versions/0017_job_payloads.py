"""What a job is to do, and what came of it, are texts of its kind's own; jobs are not calls by their columns."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        made, parsed, text = "json_build_object", "CAST({} AS json)", "CAST({} AS text)"
    else:
        made, parsed, text = "json_object", "json({})", "{}"
    headers, result_headers = parsed.format("headers"), parsed.format("result_headers")
    asked = f"'door', 'altair', 'kind', 'async', 'method', method, 'headers', {headers}, 'callback_url', callback_url"
    call = text.format(f"{made}({asked})")
    callback = text.format(f"{made}('headers', {headers})")
    result = text.format(f"{made}('status', result_status, 'headers', {result_headers})")
    op.add_column("jobs", sa.Column("payload", sa.Text, nullable=False, server_default=sa.text("''")))
    op.add_column("jobs", sa.Column("result", sa.Text, nullable=False, server_default=sa.text("''")))
    op.execute(
        sa.text(
            f"UPDATE jobs SET payload = CASE kind WHEN 'call' THEN {call} ELSE {callback} END, "  # noqa: S608 – our names
            f"result = CASE WHEN result_status IS NULL THEN '' ELSE {result} END"
        )
    )
    # Alembic would copy the whole table on SQLite.
    for column in ("method", "headers", "callback_url", "result_status", "result_headers"):
        op.execute(f"ALTER TABLE jobs DROP COLUMN {column}")
