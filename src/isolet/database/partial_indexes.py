"""Indexes over a part of a table, and the whole schema with them, as migrations make it.

Not beside their tables: what only one kind of database takes makes SQLAlchemy load the dialects of both, at each start.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Index, TextClause, text

from isolet.database.schema import NOT_SUCCEEDED, NOT_SYNC, executions, invocations, jobs, metadata

__all__ = ["metadata"]


def _add(name: str, where: TextClause, *columns: ColumnElement[object]) -> None:
    """To the table of its columns."""
    Index(name, *columns, sqlite_where=where, postgresql_where=where)


for _name, _column, _where in (("failed", "status", NOT_SUCCEEDED), ("unusual", "kind", NOT_SYNC)):
    for _place in (invocations.c.function_id, invocations.c.project_id):
        _index = f"invocations_{_place.name.removesuffix('_id')}_{_name}"
        _add(_index, _where, _place, invocations.c.id, invocations.c[_column])

_add("jobs_queue", text("state = 'queued'"), jobs.c.kind, jobs.c.lane, jobs.c.due_at_ms)
_add("jobs_due", text("state = 'queued'"), jobs.c.kind, jobs.c.due_at_ms)
_add("jobs_leases", text("state = 'running'"), jobs.c.lease_owner)
_add("jobs_parent", text("parent_id IS NOT NULL"), jobs.c.parent_id)
_add("jobs_deliveries", text("kind = 'callback'"), jobs.c.project_id, jobs.c.state, jobs.c.id)
_add("jobs_open", text("finished_at_ms IS NULL"), jobs.c.project_id, jobs.c.body_bytes)
_add("jobs_finished", text("finished_at_ms IS NOT NULL"), jobs.c.finished_at_ms)
_add("executions_open", text("ended_at_ms IS NULL"), executions.c.project_id, executions.c.size_bytes)
