"""Many rows in a server's SQLite database, made of rows that the server wrote itself, while it does not run.

A copy has all columns of its original but those that are given as expressions of `n`, the number of the copy from 1 on.
Roll-ups are what `isolet.database.metrics` would have added as the calls ended.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from isolet.domain.durations import bucket_of
from isolet.domain.metrics import DAY_MS, HOUR_MS, MINUTE_MS, Step, start_of
from isolet.ids import made_at_ms

_CACHE_KIB = 512 * 1024
# Minutes are kept for two days.
_MINUTES_MS = 2 * DAY_MS
_NUMBERS = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)"
# Of each call, by the columns of roll-ups that they are added to.
_FIGURES = {
    "total": "1",
    "errors": "(outcome <> 'ok' OR status >= 500)",
    "faults": "(outcome <> 'ok')",
    "duration_us": "duration_us",
    "cold_starts": "(cold_start_us > 0)",
    "cold_start_us": "cold_start_us",
    "mb_us": "memory_limit_mb * duration_us",
    "egress_bytes": "response_bytes",
    "http_errors": "(status >= 400)",
    "memory_bytes": "memory_bytes",
    "last_at_ms": "made_at_ms(id)",
}
_OTHERS = {"at_ms": "made_at_ms(id)", "bucket": "bucket_of(duration_us)"}
_MOST = ("memory_bytes", "last_at_ms")


def connect(path: str) -> sqlite3.Connection:
    """Fast rather than durable: nobody else has the file, and it is thrown away when this fails."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in (f"cache_size=-{_CACHE_KIB}", "journal_mode=OFF", "synchronous=OFF", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}")
    connection.create_function("bucket_of", 1, bucket_of, deterministic=True)
    connection.create_function("made_at_ms", 1, made_at_ms, deterministic=True)
    connection.create_function("start_of", 2, lambda step, ms: start_of(Step(step), ms), deterministic=True)
    return connection


def id_of(at_ms: str) -> str:
    """An expression: a UUIDv7 made at that time, with the number of its copy."""
    stamp = f"printf('%012x', {at_ms})"
    return f"substr({stamp}, 1, 8) || '-' || substr({stamp}, 9) || printf('-7%03x-8000-%012x', n & 4095, n)"


def copy(
    connection: sqlite3.Connection,
    table: str,
    original: str,
    count: int,
    changed: Mapping[str, str],
    *,
    joins: str = "",
    only: str = "true",
) -> None:
    """Copies of the row that the condition `original` finds, for the numbers that `only` is true of.

    `joins` has other tables that the expressions read.
    """
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    if unknown := set(changed) - set(columns):
        raise LookupError(f"{table} has no columns {unknown}")
    values = ", ".join(changed.get(name, f"original.{name}") for name in columns)
    connection.execute(
        f"{_NUMBERS} INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM numbers "  # noqa: S608
        f"CROSS JOIN (SELECT * FROM {table} WHERE {original} LIMIT 1) AS original {joins} WHERE {only}",
        (count,),
    )
    if not connection.execute("SELECT changes()").fetchone()[0]:
        raise LookupError(f"no copies in {table}: there is no original, or nothing to join")


@contextmanager
def without_indexes(connection: sqlite3.Connection, table: str) -> Iterator[None]:
    """To sort all rows afterwards costs less than to put each in its place."""
    found = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL"
    indexes = connection.execute(found, (table,)).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    yield
    for _, definition in indexes:
        connection.execute(definition)


def roll_up(connection: sqlite3.Connection, now_ms: int) -> None:
    """Make the roll-ups of all calls that are there anew, without the minutes that are kept no more."""
    connection.execute("DELETE FROM rollups")
    connection.execute("DELETE FROM rollup_durations")
    figures = ", ".join(f"{value} AS {name}" for name, value in {**_FIGURES, **_OTHERS}.items())
    connection.execute(f"CREATE TEMP TABLE figures AS SELECT function_id, project_id, {figures} FROM invocations")  # noqa: S608
    kept = f"WHERE at_ms >= {start_of(Step.MINUTE, now_ms - _MINUTES_MS)}"
    _add(connection, Step.MINUTE, f"at_ms - at_ms % {MINUTE_MS}", f"figures {kept}", f"figures {kept}")
    _add(connection, Step.HOUR, f"at_ms - at_ms % {HOUR_MS}", "figures", "figures")
    hours = f"WHERE step = '{Step.HOUR}'"
    _add(connection, Step.MONTH, f"start_of('{Step.MONTH}', at_ms)", f"rollups {hours}", f"rollup_durations {hours}")
    connection.execute("DROP TABLE figures")


def _add(connection: sqlite3.Connection, step: Step, start: str, sums: str, durations: str) -> None:
    added = [f"{'max' if name in _MOST else 'sum'}({name})" for name in _FIGURES]
    connection.execute(
        f"INSERT INTO rollups (function_id, step, at_ms, project_id, {', '.join(_FIGURES)}) "  # noqa: S608
        f"SELECT function_id, '{step}', {start}, project_id, {', '.join(added)} FROM {sums} GROUP BY 1, 3, 4"
    )
    connection.execute(
        "INSERT INTO rollup_durations (function_id, step, at_ms, bucket, total) "  # noqa: S608
        f"SELECT function_id, '{step}', {start}, bucket, sum(total) FROM {durations} GROUP BY 1, 3, 4"
    )
