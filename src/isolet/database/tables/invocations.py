"""Records of calls."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, Table, Text, false, text

from isolet.database.tables.columns import id_column, metadata, ms_column, partial_index

# No foreign keys: records outlive their function until they age out.
invocations = Table(
    "invocations",
    metadata,
    id_column(),
    id_column("project_id", primary_key=False),
    id_column("function_id", primary_key=False),
    Column("function_name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("door", String(20), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("method", String(20), nullable=False),
    Column("path", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("outcome", String(20), nullable=False),
    ms_column("started_at_ms"),
    Column("duration_us", BigInteger, nullable=False),
    Column("cold_start_us", BigInteger, nullable=False),
    Column("queue_us", BigInteger, nullable=False, server_default="0"),
    Column("kill_report", JSON(none_as_null=True)),
    Column("error", Text),
    Column("stack", Text),
    Column("request_body", LargeBinary, nullable=False),
    Column("request_truncated", Boolean, nullable=False),
    Column("response_body", LargeBinary, nullable=False),
    Column("response_truncated", Boolean, nullable=False),
    Column("console", Text, nullable=False),
    Column("outgoing", Text, nullable=False, server_default=text("''")),
    Column("query", Text, nullable=False, server_default=text("''")),
    Column("request_headers", LargeBinary, nullable=False, server_default=text("''")),
    Column("request_redacted", Boolean, nullable=False, server_default=false()),
    Column("response_bytes", BigInteger, nullable=False, server_default="0"),
    Column("memory_bytes", BigInteger, nullable=False, server_default="0"),
    Column("memory_limit_mb", Integer, nullable=False, server_default="0"),
    Column("size_bytes", BigInteger, nullable=False, server_default="0"),
    Index("invocations_function", "function_id", "id"),
    # With the size, so that a project's records are added up without a look at them.
    Index("invocations_project", "project_id", "id", "size_bytes"),
)

# The conditions of the partial indexes: a query that says one of them word for word reads only what is rare.
NOT_SUCCEEDED = text("(status < 200 OR status >= 300)")

NOT_SYNC = text("kind <> 'sync'")

for _name, _column, _where in (("failed", "status", NOT_SUCCEEDED), ("unusual", "kind", NOT_SYNC)):
    for _place in (invocations.c.function_id, invocations.c.project_id):
        _index = f"invocations_{_place.name.removesuffix('_id')}_{_name}"
        partial_index(_index, _where, _place, invocations.c.id, invocations.c[_column])
