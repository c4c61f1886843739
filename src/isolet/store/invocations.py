"""Records of calls, written in batches. Console lines are newline-delimited JSON, so late lines are appended."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from isolet.domain.invocations import ConsoleLine, Door, Invocation, Kind, Outcome
from isolet.domain.kills import KillReport
from isolet.ids import FunctionId, InvocationId
from isolet.store.schema import invocations

_CONVERTED = ("door", "kind", "outcome", "console", "kill_report")
_AS_THEY_ARE = tuple(column.name for column in invocations.columns if column.name not in _CONVERTED)
_COLUMNS = _AS_THEY_ARE + _CONVERTED
_fields = attrgetter(*_AS_THEY_ARE)
# One statement for many rows: the driver gives up Python's lock for each statement, and to have it back from a busy
# main thread costs more than a row.
_ROWS_A_STATEMENT = 50
_AGAIN = " ON CONFLICT (id) DO UPDATE SET " + ", ".join(
    f"{name} = excluded.{name}" for name in _COLUMNS if name != "id"
)


def insert_invocations(connection: Connection, batch: Sequence[Invocation]) -> None:
    """Past SQLAlchemy's own insert, which takes several times the CPU of the rows.

    A call that is tried again keeps its id: the record of its last attempt stays.
    """
    batch = list({invocation.id: invocation for invocation in batch}.values())
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    row = f"({', '.join([mark] * len(_COLUMNS))})"
    start = f"INSERT INTO {invocations.name} ({', '.join(_COLUMNS)}) VALUES "  # noqa: S608 – names of our own table
    for first in range(0, len(batch), _ROWS_A_STATEMENT):
        part = batch[first : first + _ROWS_A_STATEMENT]
        values = tuple(value for invocation in part for value in _row(invocation))
        connection.exec_driver_sql(start + ", ".join([row] * len(part)) + _AGAIN, values)


def _row(invocation: Invocation) -> tuple[Any, ...]:
    """The columns in their order, as the drivers take them: an enum's own text is quicker to bind than the enum."""
    report = invocation.kill_report
    return (
        *_fields(invocation),
        invocation.door.value,
        invocation.kind.value,
        invocation.outcome.value,
        _dump(invocation.console) if invocation.console else "",
        json.dumps(report.to_json()) if report is not None else None,
    )


def append_console(connection: Connection, late: Mapping[InvocationId, Sequence[ConsoleLine]]) -> None:
    """Add lines that came after their record was written."""
    for invocation_id, lines in late.items():
        connection.execute(
            update(invocations)
            .where(invocations.c.id == invocation_id)
            .values(console=invocations.c.console + _dump(lines))
        )


def count_invocations(connection: Connection, function_ids: Sequence[FunctionId]) -> dict[str, int]:
    """How many records each function has; those without any are left out."""
    column = invocations.c.function_id
    query = select(column, func.count()).where(column.in_(function_ids)).group_by(column)
    return {row[0]: row[1] for row in connection.execute(query)}


def list_invocations(
    connection: Connection, function_id: FunctionId, *, limit: int, succeeded: bool | None = None
) -> list[Invocation]:
    """Newest first. `succeeded` keeps statuses 200–299 (true) or all others (false)."""
    query = (
        select(invocations)
        .where(invocations.c.function_id == function_id)
        .order_by(invocations.c.id.desc())
        .limit(limit)
    )
    good = invocations.c.status.between(200, 299)
    if succeeded is not None:
        query = query.where(good if succeeded else ~good)
    return [_invocation(row) for row in connection.execute(query)]


def _dump(lines: Sequence[ConsoleLine]) -> str:
    return "".join(
        json.dumps([line.level, line.at_ms, line.message, line.stack], separators=(",", ":")) + "\n" for line in lines
    )


def _invocation(row: Row[Any]) -> Invocation:
    values = dict(row._mapping)
    values["door"] = Door(row.door)
    values["kind"] = Kind(row.kind)
    values["outcome"] = Outcome(row.outcome)
    values["kill_report"] = KillReport.from_json(row.kill_report) if row.kill_report else None
    values["request_body"] = bytes(row.request_body)
    values["response_body"] = bytes(row.response_body)
    values["console"] = [
        ConsoleLine(level=level, at_ms=at_ms, message=message, stack=stack)
        for level, at_ms, message, stack in map(json.loads, row.console.splitlines())
    ]
    return Invocation(**values)
