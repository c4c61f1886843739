"""Looks for asynchronous calls by their state, which records do not know: those that wait, run or were cancelled."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, or_, select

from isolet.database.jobs import LIGHT, read_job
from isolet.database.tables.jobs import jobs
from isolet.domain.http_jobs import CALL
from isolet.domain.jobs import Job, JobState
from isolet.domain.search import CallFilter

# A page looks at so many jobs at most; what it has not seen is for the next page.
_WINDOW_ROWS = 10_000


def find_calls(connection: Connection, wanted: CallFilter, state: JobState) -> tuple[Sequence[Job], str | None]:
    """A page, newest first, and where the next one begins; None at the end. `status` of the filter is not looked at."""
    seen = [] if wanted.before is None else [jobs.c.id < wanted.before]
    newest_first = jobs.c.id.desc()
    end = connection.scalar(select(jobs.c.id).where(*seen).order_by(newest_first).offset(_WINDOW_ROWS).limit(1))
    if end is not None:
        seen.append(jobs.c.id >= end)
    query = select(*LIGHT).where(*seen, jobs.c.state == state.value, *_conditions(wanted)).order_by(newest_first)
    rows = connection.execute(query.limit(wanted.limit + 1)).all()
    calls = [read_job(row) for row in rows[: wanted.limit]]
    return calls, calls[-1].id if len(rows) > wanted.limit else end


def _conditions(wanted: CallFilter) -> list[ColumnElement[bool]]:
    column = jobs.c
    conditions = [column.kind == CALL, column.project_id == wanted.project_id]
    if wanted.function_id is not None:
        conditions.append(column.function_id == wanted.function_id)
    if wanted.since_ms is not None:
        conditions.append(column.created_at_ms >= wanted.since_ms)
    if wanted.until_ms is not None:
        conditions.append(column.created_at_ms < wanted.until_ms)
    if wanted.text:
        text = wanted.text
        conditions.append(
            or_(column.target.icontains(text, autoescape=True), column.error.icontains(text, autoescape=True))
        )
    return conditions
