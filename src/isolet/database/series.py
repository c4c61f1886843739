"""Roll-ups of calls as they lie on a line of time: what charts are drawn from."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, select, text

from isolet.database.tables.metrics import rollup_durations, rollups
from isolet.domain.metrics import Step, Sums
from isolet.ids import FunctionId


def list_counts(
    connection: Connection, function_ids: Sequence[FunctionId], step: Step, since_ms: int
) -> list[tuple[FunctionId, int, int, int]]:
    """Function, begin of the span, calls and failed calls, for each span that has calls."""
    query = select(rollups.c.function_id, rollups.c.at_ms, rollups.c.total, rollups.c.errors).where(
        rollups.c.function_id.in_(function_ids), rollups.c.step == step.value, rollups.c.at_ms >= since_ms
    )
    return [(FunctionId(row.function_id), row.at_ms, row.total, row.errors) for row in connection.execute(query)]


def count_durations_of(
    connection: Connection, function_ids: Sequence[FunctionId], step: Step, since_ms: int
) -> dict[FunctionId, dict[int, int]]:
    """How many calls of each function fell into which bucket."""
    table = rollup_durations
    query = (
        select(table.c.function_id, table.c.bucket, func.sum(table.c.total).label("count"))
        .where(table.c.function_id.in_(function_ids), table.c.step == step.value, table.c.at_ms >= since_ms)
        .group_by(table.c.function_id, table.c.bucket)
    )
    found: dict[FunctionId, dict[int, int]] = {}
    for row in connection.execute(query):
        found.setdefault(FunctionId(row.function_id), {})[row.bucket] = int(row._mapping["count"])
    return found


def list_sums(connection: Connection, function_id: FunctionId, step: Step, since_ms: int) -> dict[int, Sums]:
    """The sums of a function's calls by the begin of each span that has some."""
    names = Sums.__struct_fields__
    query = select(rollups.c.at_ms, *(rollups.c[name] for name in names)).where(
        rollups.c.function_id == function_id, rollups.c.step == step.value, rollups.c.at_ms >= since_ms
    )
    return {row.at_ms: Sums(**{name: int(row._mapping[name]) for name in names}) for row in connection.execute(query)}


def list_durations(
    connection: Connection, function_id: FunctionId, step: Step, since_ms: int, span_ms: int
) -> dict[int, dict[int, int]]:
    """How many calls of a function fell into which bucket, by the number of each span from `since_ms` on that has some.

    Added up here: a month of hours has tens of thousands of rows.
    """
    table = rollup_durations
    span = ((table.c.at_ms - since_ms) // span_ms).label("span")
    query = (
        select(span, table.c.bucket, func.sum(table.c.total).label("count"))
        .where(table.c.function_id == function_id, table.c.step == step.value, table.c.at_ms >= since_ms)
        .group_by(text("span"), table.c.bucket)
    )
    found: dict[int, dict[int, int]] = {}
    for row in connection.execute(query):
        found.setdefault(row.span, {})[row.bucket] = int(row._mapping["count"])
    return found
