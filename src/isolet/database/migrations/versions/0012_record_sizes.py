"""What each record takes, so that a project's are bounded in bytes.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_ALWAYS = ("path", "query", "console", "request_body", "response_body", "request_headers")
_SIZES = " + ".join(
    ["600", *(f"length({name})" for name in _ALWAYS), "coalesce(length(error), 0)", "coalesce(length(stack), 0)"]
)


def upgrade() -> None:
    op.add_column("invocations", sa.Column("size_bytes", sa.BigInteger, nullable=False, server_default="0"))
    op.execute(f"UPDATE invocations SET size_bytes = {_SIZES}")  # noqa: S608 – our names
    op.drop_index("invocations_project", "invocations")
    op.create_index("invocations_project", "invocations", ["project_id", "id", "size_bytes"])
