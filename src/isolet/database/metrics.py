"""Roll-ups of calls by minute, hour and month: added to as records are written, so each call counts exactly once.

A call belongs to the time that its id was made at, as everywhere where calls are looked for by time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, Table, delete, exists, func, select, tuple_

from isolet.database.bulk import BulkInsert, Values
from isolet.database.invocations import insert_invocations
from isolet.database.tables.functions import deleted_functions, functions
from isolet.database.tables.invocations import invocations
from isolet.database.tables.metrics import ROLLUP_SUMS, rollup_durations, rollups
from isolet.domain.durations import bucket_of
from isolet.domain.invocations import Invocation, Outcome
from isolet.domain.metrics import Step, Sums, start_of
from isolet.ids import FunctionId, ProjectId, first_of_ms, made_at_ms

_FIGURES = (
    *("id", "project_id", "function_id", "status", "outcome", "duration_us", "cold_start_us"),
    *("response_bytes", "memory_bytes", "memory_limit_mb"),
)
_MOST = ("memory_bytes", "last_at_ms")
_OK = Outcome.OK
_Key = tuple[str, str, int, str]


def insert_ended(connection: Connection, batch: Sequence[Invocation]) -> dict[ProjectId, int]:
    """Write the records of calls that have ended, and their part in the roll-ups, in one transaction.

    How many bytes the records of each project take.
    """
    sizes = insert_invocations(connection, batch)
    add_rollups(connection, batch)
    return sizes


def add_rollups(connection: Connection, batch: Iterable[Invocation]) -> None:
    """Count each of these calls. To be called once for each, when it has ended."""
    sums: dict[_Key, list[int]] = {}
    buckets: dict[tuple[str, str, int, int], int] = {}
    for minute, calls in _by_minute(batch).items():
        function_id, project_id, at_ms = minute
        added, counted = _sum(calls), _count_durations(calls)
        for step in Step:
            start = start_of(step, at_ms)
            key = (function_id, step.value, start, project_id)
            known = sums.get(key)
            sums[key] = added if known is None else _plus(known, added)
            for bucket, count in counted.items():
                place = (function_id, step.value, start, bucket)
                buckets[place] = buckets.get(place, 0) + count
    if sums:
        _add(connection, rollups, [(*key, *values) for key, values in sums.items()])
        _add(connection, rollup_durations, [(*place, count) for place, count in buckets.items()])


def _by_minute(batch: Iterable[Invocation]) -> dict[tuple[str, str, int], list[Invocation]]:
    by_function: dict[str, list[Invocation]] = {}
    for call in batch:
        by_function.setdefault(call.function_id, []).append(call)
    found: dict[tuple[str, str, int], list[Invocation]] = {}
    for function_id, calls in by_function.items():
        ids = [call.id for call in calls]
        first, last = _minute_of(min(ids)), _minute_of(max(ids))
        if first == last:
            found[function_id, calls[0].project_id, first] = calls
            continue
        for call in calls:
            found.setdefault((function_id, call.project_id, _minute_of(call.id)), []).append(call)
    return found


def _minute_of(invocation_id: str) -> int:
    return start_of(Step.MINUTE, made_at_ms(invocation_id))


def _sum(calls: Sequence[Invocation]) -> list[int]:
    """In the order of ROLLUP_SUMS, then what the most is kept of. One pass: this runs for every call."""
    errors = faults = http_errors = duration_us = cold_starts = cold_us = mb_us = sent = memory = 0
    for call in calls:
        if call.outcome is not _OK:
            faults += 1
            errors += 1
        elif call.status >= 500:
            errors += 1
        if call.status >= 400:
            http_errors += 1
        if call.cold_start_us:
            cold_starts += 1
            cold_us += call.cold_start_us
        duration_us += call.duration_us
        mb_us += call.memory_limit_mb * call.duration_us
        sent += call.response_bytes
        if call.memory_bytes > memory:
            memory = call.memory_bytes
    # Ids are in the order of time.
    last_at_ms = made_at_ms(max(call.id for call in calls))
    sums = [len(calls), errors, faults, duration_us, cold_starts, cold_us, mb_us, sent, http_errors]
    return [*sums, memory, last_at_ms]


def _plus(one: Sequence[int], other: Sequence[int]) -> list[int]:
    most = len(ROLLUP_SUMS)
    return [*(a + b for a, b in zip(one[:most], other[:most], strict=True)), *map(max, one[most:], other[most:])]


def _count_durations(calls: Sequence[Invocation]) -> dict[int, int]:
    counted: dict[int, int] = {}
    for call in calls:
        bucket = bucket_of(call.duration_us)
        counted[bucket] = counted.get(bucket, 0) + 1
    return counted


def _add(connection: Connection, table: Table, rows: Sequence[Values]) -> None:
    """Add rows to those that have their key; they hold the columns in the order of the table.

    In the order of their keys: of two servers that lock the same rows in different orders, one would lose its batch.
    """
    _addition(table, connection.dialect.name == "sqlite").run(connection, {(): sorted(rows)})


@cache
def _addition(table: Table, sqlite: bool) -> BulkInsert:
    columns = tuple(column.name for column in table.columns)
    key = ", ".join(column.name for column in table.primary_key.columns)
    greatest = "max" if sqlite else "greatest"
    changes = [f"{name} = {table}.{name} + excluded.{name}" for name in columns if name in ROLLUP_SUMS]
    changes += [f"{name} = {greatest}({table}.{name}, excluded.{name})" for name in columns if name in _MOST]
    return BulkInsert(table=table.name, own=columns, conflict=f"({key}) DO UPDATE SET {', '.join(changes)}")


# Reading.


def sum_function(
    connection: Connection, function_id: FunctionId, step: Step, since_ms: int = 0, until_ms: int | None = None
) -> Sums:
    """The roll-ups that begin from `since_ms` on and before `until_ms`."""
    query = select(*_summed()).where(*_window(rollups, function_id, step, since_ms, until_ms))
    return _sums(connection.execute(query).one())


def sum_functions(
    connection: Connection, function_ids: Sequence[FunctionId], step: Step, since_ms: int = 0
) -> dict[FunctionId, Sums]:
    """The roll-ups of several functions that begin from `since_ms` on; those without any are left out."""
    query = (
        select(rollups.c.function_id, *_summed())
        .where(rollups.c.function_id.in_(function_ids), rollups.c.step == step.value, rollups.c.at_ms >= since_ms)
        .group_by(rollups.c.function_id)
    )
    return {FunctionId(row.function_id): _sums(row) for row in connection.execute(query)}


def count_durations(
    connection: Connection, function_id: FunctionId, step: Step, since_ms: int = 0, until_ms: int | None = None
) -> dict[int, int]:
    """How many calls fell into which bucket."""
    query = (
        select(rollup_durations.c.bucket, func.sum(rollup_durations.c.total))
        .where(*_window(rollup_durations, function_id, step, since_ms, until_ms))
        .group_by(rollup_durations.c.bucket)
    )
    return {bucket: int(count) for bucket, count in connection.execute(query)}


def read_calls(
    connection: Connection, function_id: FunctionId, since_ms: int, until_ms: int, *, limit: int
) -> list[Invocation]:
    """The figures of a function's calls in a span, without what they said: for sums that are exact to the call."""
    query = (
        select(*(invocations.c[name] for name in _FIGURES))
        .where(
            invocations.c.function_id == function_id,
            invocations.c.id >= first_of_ms(since_ms),
            invocations.c.id < first_of_ms(until_ms),
        )
        .limit(limit)
    )
    return [_figures_of(row) for row in connection.execute(query)]


def sum_calls(calls: Sequence[Invocation]) -> Sums:
    return _named(_sum(calls)) if calls else Sums()


def sum_projects(connection: Connection, month_ms: int) -> dict[ProjectId, Sums]:
    """Every project's sums in the month that begins at `month_ms`."""
    query = (
        select(rollups.c.project_id, *_summed())
        .where(rollups.c.step == Step.MONTH.value, rollups.c.at_ms == month_ms)
        .group_by(rollups.c.project_id)
    )
    return {ProjectId(row.project_id): _sums(row) for row in connection.execute(query)}


def prune_rollups(connection: Connection, step: Step, before_ms: int, *, limit: int) -> int:
    """Delete up to `limit` rows of each kind; how many there were at most."""
    removed = 0
    for table in (rollups, rollup_durations):
        key = tuple_(*table.primary_key.columns)
        old = select(*table.primary_key.columns).where(table.c.step == step.value, table.c.at_ms < before_ms)
        removed = max(removed, connection.execute(delete(table).where(key.in_(old.limit(limit)))).rowcount)
    return removed


def fold_deleted(connection: Connection, *, limit: int) -> int:
    """Make less of what is rolled up of functions that are gone: a sum for each project and month. How much, or 0.

    A name that a new deploy may take up again keeps its own. Rows of minutes and hours go first, `limit` at a time.
    """
    table = rollups.c
    there = exists().where(functions.c.id == table.function_id)
    remembered = exists().where(
        deleted_functions.c.project_id == table.project_id, deleted_functions.c.function_id == table.function_id
    )
    gone = select(table.function_id).distinct()
    gone = gone.where(table.step == Step.MONTH.value, table.function_id != table.project_id, ~there, ~remembered)
    ids = list(connection.scalars(gone.limit(limit)))
    if not ids:
        return 0
    return sum(_drop_parts(connection, kind, ids, limit) for kind in (rollups, rollup_durations)) or _fold(
        connection, ids
    )


def _drop_parts(connection: Connection, table: Table, ids: Sequence[str], limit: int) -> int:
    key = tuple_(*table.primary_key.columns)
    parts = select(*table.primary_key.columns).where(table.c.function_id.in_(ids), table.c.step != Step.MONTH.value)
    return connection.execute(delete(table).where(key.in_(parts.limit(limit)))).rowcount


def _fold(connection: Connection, ids: Sequence[str]) -> int:
    """Add the months of functions to those of their projects, which have the project's id in the function's place."""
    months = (rollups.c.function_id.in_(ids), rollups.c.step == Step.MONTH.value)
    values = (rollups.c[name] for name in (*ROLLUP_SUMS, *_MOST))
    # Of servers that do this at once, one gets the row.
    taken = connection.execute(delete(rollups).where(*months).returning(rollups.c.project_id, rollups.c.at_ms, *values))
    sums: dict[_Key, Sequence[int]] = {}
    for project_id, at_ms, *found in taken:
        key = (project_id, Step.MONTH.value, at_ms, project_id)
        sums[key] = _plus(sums[key], found) if key in sums else found
    _add(connection, rollups, [(*key, *found) for key, found in sums.items()])
    connection.execute(delete(rollup_durations).where(rollup_durations.c.function_id.in_(ids)))
    return len(ids)


def _window(table: Table, function_id: FunctionId, step: Step, since_ms: int, until_ms: int | None) -> list[Any]:
    conditions = [table.c.function_id == function_id, table.c.step == step.value, table.c.at_ms >= since_ms]
    return conditions if until_ms is None else [*conditions, table.c.at_ms < until_ms]


def _summed() -> list[Any]:
    sums = [func.coalesce(func.sum(rollups.c[name]), 0).label(name) for name in ROLLUP_SUMS]
    return sums + [func.coalesce(func.max(rollups.c[name]), 0).label(name) for name in _MOST]


def _sums(row: Row[Any]) -> Sums:
    names = (*ROLLUP_SUMS, *_MOST)
    return Sums(**{name: int(row._mapping[name]) for name in names})


def _named(values: Sequence[int]) -> Sums:
    return Sums(**dict(zip((*ROLLUP_SUMS, *_MOST), values, strict=True)))


def _figures_of(row: Row[Any]) -> Invocation:
    values = dict(row._mapping)
    values["outcome"] = Outcome(row.outcome)
    unused: dict[str, Any] = {"function_name": "", "version": 0, "method": "", "path": "", "door": None}
    return Invocation(**unused, **values, started_at_ms=made_at_ms(row.id))
