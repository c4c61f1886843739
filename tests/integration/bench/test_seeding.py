"""Rows that benchmarks are made over are what a server would have written."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from isolet.database.connection import Database
from isolet.database.engine import sqlite_url
from isolet.database.metrics import insert_ended
from isolet.domain.invocations import Outcome
from isolet.domain.metrics import DAY_MS, HOUR_MS, MINUTE_MS
from isolet.ids import InvocationId, first_of_ms
from tests.bench import seeding
from tests.integration.database.rows import a_function, a_project, an_invocation

NOW_MS = 500_000 * HOUR_MS + HOUR_MS // 4
_TABLES = ("rollups", "rollup_durations")


async def test_roll_ups_of_copies_are_those_of_recorded_calls(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "isolet.db"))
    await database.open()
    functions = [a_function(a_project("shop")), a_function(a_project("blog"))]
    calls = [
        an_invocation(
            functions[number % 2],
            id=InvocationId(f"{first_of_ms(NOW_MS - number * 7 * MINUTE_MS)}-7000-8000-{number:012x}"),
            status=(200, 404, 500)[number % 3],
            outcome=Outcome.HANDLER_FAILED if number % 7 == 0 else Outcome.OK,
            duration_us=number * 997,
            cold_start_us=number % 2 * 50,
            response_bytes=number,
            memory_bytes=number % 5,
            memory_limit_mb=128,
        )
        for number in range(2 * DAY_MS // (7 * MINUTE_MS))
    ]
    await database.write(insert_ended, calls)
    await database.close()
    with closing(seeding.connect(str(tmp_path / "isolet.db"))) as connection:
        recorded = _roll_ups(connection)
        seeding.roll_up(connection, NOW_MS)
        assert _roll_ups(connection) == recorded
        seeding.roll_up(connection, NOW_MS + DAY_MS)
        (oldest,) = connection.execute("SELECT min(at_ms) FROM rollups WHERE step = 'minute'").fetchone()
        assert NOW_MS - DAY_MS - MINUTE_MS <= oldest < NOW_MS - DAY_MS + 7 * MINUTE_MS


def test_copies_have_what_is_not_changed(tmp_path: Path) -> None:
    with closing(seeding.connect(str(tmp_path / "some.db"))) as connection:
        connection.execute("CREATE TABLE things (id TEXT, size INTEGER, name TEXT)")
        connection.execute("CREATE INDEX things_size ON things (size)")
        connection.execute("INSERT INTO things VALUES ('one', 1, 'kept')")
        with seeding.without_indexes(connection, "things"):
            seeding.copy(connection, "things", "id = 'one'", 5, {"id": "'n' || n", "size": "n"}, only="n > 3")
        assert set(connection.execute("SELECT * FROM things")) == {
            ("one", 1, "kept"),
            ("n4", 4, "kept"),
            ("n5", 5, "kept"),
        }
        assert connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'").fetchall() == [
            ("things_size",)
        ]


def _roll_ups(connection: sqlite3.Connection) -> list[list[dict[str, object]]]:
    connection.row_factory = sqlite3.Row
    return [[dict(row) for row in connection.execute(f"SELECT * FROM {table}")] for table in _TABLES]  # noqa: S608
