"""What becomes of records when the disk stalls: another connection holds the database's only right to write."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from isolet.database.connection import Database
from isolet.database.functions import insert_function
from isolet.database.projects import insert_project
from isolet.domain.functions import Function
from isolet.observe import recorder as recorder_module
from isolet.observe.call_history import CallHistory
from isolet.observe.recorder import Recorder
from isolet.observe.retention import Retention
from isolet.observe.usage_stats import UsageStats
from isolet.runtime.storage.files import sizes
from isolet.tasks import Tasks
from tests.integration.database.rows import a_function, a_project, an_invocation

# The way this disk is made to stall is SQLite's: it has one right to write.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Now:
    def now_ms(self) -> int:
        return 1_769_860_800_123


@pytest.fixture
def stalled(database: Database, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    other = sqlite3.connect(tmp_path / "isolet.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield other
    other.close()


@pytest.fixture
def function() -> Function:
    return a_function(a_project())


async def test_calls_go_on_while_the_disk_stalls_and_are_written_after(
    database: Database, stalled: sqlite3.Connection, function: Function
) -> None:
    recorder, tasks = Recorder(database), Tasks()
    tasks.loop(recorder.run(), name="recorder")
    try:
        for _ in range(700):
            call = an_invocation(function)
            recorder.begin(call)
            recorder.end(call)
        with pytest.raises(TimeoutError):
            await recorder.flush(0.2)
        stalled.execute("ROLLBACK")
        assert len(await CallHistory(database, recorder).latest(function.id, limit=1000)) == 700
        assert recorder.lost == 0
        assert recorder.waiting == 0
    finally:
        await tasks.close()


async def test_a_stop_does_not_fail_when_records_cannot_be_written_in_time(
    database: Database, stalled: sqlite3.Connection, function: Function
) -> None:
    recorder, tasks = Recorder(database), Tasks()
    tasks.loop(recorder.run(), name="recorder")
    try:
        recorder.end(an_invocation(function))
        with capture_logs() as logs:
            await recorder.drain(0.2)
        assert [entry["event"] for entry in logs] == ["the records of calls could not be written in time"]
    finally:
        stalled.execute("ROLLBACK")
        await tasks.close()


async def test_stores_that_come_and_go_do_not_break_the_figures_of_usage(
    database: Database, function: Function, tmp_path: Path
) -> None:
    project, stop = tmp_path / function.project_id, threading.Event()

    def churn() -> None:
        while not stop.is_set():
            (project / "a" / "b" / "c").mkdir(parents=True)
            shutil.rmtree(project)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        metrics = UsageStats(database, Recorder(database), Now(), partial(asyncio.to_thread, sizes, tmp_path))
        for _ in range(300):
            (found,) = await metrics.usage([function.project_id], 0)
            assert found.storage_bytes == 0
    finally:
        stop.set()
        thread.join()


async def test_what_does_not_fit_while_the_disk_stalls_is_counted(
    database: Database, function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "_QUEUE_BYTES", 100)
    recorder = Recorder(database)
    for body in (b"x" * 60, b"x" * 60, b"x" * 15):
        call = an_invocation(function, request_body=body)
        recorder.begin(call)
        recorder.end(call)
    assert (recorder.waiting, recorder.lost) == (2, 1)
    assert sum(recorder.figures.calls.values()) == 1


async def test_figures_count_what_ended_by_function_and_outcome(database: Database, function: Function) -> None:
    recorder, tasks = Recorder(database), Tasks()
    tasks.loop(recorder.run(), name="recorder")
    try:
        for duration_us in (900, 70_000_000):
            call = an_invocation(function, duration_us=duration_us, cold_start_us=20_000)
            recorder.begin(call)
            recorder.end(call)
        await recorder.flush(5)
    finally:
        await tasks.close()
    assert recorder.figures.calls == {(function.project_id, function.id, "kapso", "ok"): 2}
    histogram = recorder.figures.durations[function.project_id, function.id]
    assert (histogram.counts[0], histogram.counts[-1], histogram.sum_us) == (1, 1, 70_000_900)
    assert sum(recorder.figures.cold_starts.counts) == 2


async def test_a_sweep_leaves_the_newest_records_and_every_count(database: Database, tmp_path: Path) -> None:
    function = a_function(project := a_project())
    await database.write(insert_project, project)
    await database.write(insert_function, function)
    recorder, tasks = Recorder(database), Tasks()
    tasks.loop(recorder.run(), name="recorder")
    try:
        for _ in range(9):
            call = an_invocation(function)
            recorder.begin(call)
            recorder.end(call)
        await recorder.flush(5)
        retention = Retention(database, Now(), days=30, rows=4)
        await retention.sweep()
        assert retention.deleted == 5
        assert len(await CallHistory(database, recorder).latest(function.id, limit=20)) == 4
        found = await UsageStats(database, recorder, Now(), partial(asyncio.to_thread, sizes, tmp_path)).function(
            function.id, "all"
        )
        assert found.sums.total == 9
    finally:
        await tasks.close()
