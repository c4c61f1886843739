"""Asynchronous calls looked for by state: one suite for SQLite and PostgreSQL."""

from __future__ import annotations

import pytest

from isolet.database import job_search
from isolet.database.connection import Database
from isolet.domain.http_jobs import CALLBACK
from isolet.domain.jobs import JobState
from isolet.domain.search import CallFilter
from isolet.ids import ProjectId
from tests.integration.database.rows import AT_MS
from tests.integration.database.test_jobs import a_job, accept

PROJECT = ProjectId("p1")


async def test_only_calls_of_the_project_in_that_state_are_found(database: Database) -> None:
    mine = [a_job(), a_job(target="/50%25?q")]
    await accept(database, *mine, a_job("p2"), a_job(kind=CALLBACK))
    await accept(database, a_job(state=JobState.CANCELLED, finished_at_ms=AT_MS))

    found = await database.read(job_search.find_calls, CallFilter(project_id=PROJECT), JobState.QUEUED)
    assert ([job.id for job in found[0]], found[1]) == ([job.id for job in mine[::-1]], None)
    assert all(job.keeps_result for job in found[0]), "their bodies stay in the store"
    worded = CallFilter(project_id=PROJECT, text="50%25")
    found = await database.read(job_search.find_calls, worded, JobState.QUEUED)
    assert ([job.id for job in found[0]], found[1]) == ([mine[1].id], None)


async def test_a_page_looks_at_a_bounded_part_and_the_next_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_search, "_WINDOW_ROWS", 2)
    rare = a_job(state=JobState.CANCELLED, finished_at_ms=AT_MS)
    await accept(database, rare, *(a_job() for _ in range(5)))
    pages, before = [], None
    for _ in range(3):
        wanted = CallFilter(project_id=PROJECT, before=before)
        calls, before = await database.read(job_search.find_calls, wanted, JobState.CANCELLED)
        pages.append([call.id for call in calls])

    # It has looked at the oldest, and does not know that nothing is older.
    assert pages == [[], [rare.id], []]
    assert before is None
