"""Deliveries of callbacks among the jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Connection, select, text, union_all

from isolet.database.jobs import LIGHT, read_job
from isolet.database.tables.jobs import jobs
from isolet.domain.http_jobs import CALLBACK
from isolet.domain.jobs import Job, JobState
from isolet.ids import FunctionId, JobId, ProjectId

# Word for word as in the partial index.
_CALLBACKS = text(f"kind = '{CALLBACK}'")


def callback_of(connection: Connection, job_id: JobId) -> Job | None:
    """The newest delivery that tells of a call, without bodies."""
    query = select(*LIGHT).where(jobs.c.parent_id == job_id, _CALLBACKS).order_by(jobs.c.id.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else read_job(row)


def list_deliveries(
    connection: Connection,
    project_id: ProjectId | None,
    *,
    state: JobState | None = None,
    function_id: FunctionId | None = None,
    since_ms: int | None = None,
    until_ms: int | None = None,
    before: JobId | None = None,
    limit: int,
) -> list[Job]:
    """Newest first, without bodies; `before` is the last id of the page before.

    The newest of each state, then the newest of those: the index has a project's by state, and no more are sorted.
    Those of all projects stand in their order in the table.
    """
    conditions: tuple[tuple[Any, Callable[[Any], ColumnElement[bool]]], ...] = (
        (project_id, jobs.c.project_id.__eq__),
        (function_id, jobs.c.function_id.__eq__),
        (since_ms, jobs.c.created_at_ms.__ge__),
        (until_ms, jobs.c.created_at_ms.__lt__),
        (before, jobs.c.id.__lt__),
    )
    given = [condition(value) for value, condition in conditions if value is not None]
    newest_first = jobs.c.id.desc()
    if project_id is None:
        of_state = [] if state is None else [jobs.c.state == state.value]
        query = select(*LIGHT).where(_CALLBACKS, *of_state, *given).order_by(newest_first).limit(limit)
        return [read_job(row) for row in connection.execute(query)]
    newest = [
        select(jobs.c.id).where(_CALLBACKS, jobs.c.state == one.value, *given).order_by(newest_first).limit(limit)
        for one in (JobState if state is None else (state,))
    ]
    ids = union_all(*(select(each.subquery().c.id) for each in newest))
    query = select(*LIGHT).where(jobs.c.id.in_(ids)).order_by(newest_first).limit(limit)
    return [read_job(row) for row in connection.execute(query)]
