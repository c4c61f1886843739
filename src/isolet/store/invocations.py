"""Records of calls, written in batches. Console lines are newline-delimited JSON, so late lines are appended."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from isolet.domain.invocations import ConsoleLine, Door, Invocation, Kind, Outcome
from isolet.domain.kills import KillReport
from isolet.ids import FunctionId, InvocationId
from isolet.store.schema import invocations

_PLAIN = tuple(
    column.name
    for column in invocations.columns
    if column.name not in ("door", "kind", "outcome", "console", "kill_report")
)


def insert_invocations(connection: Connection, batch: Sequence[Invocation]) -> None:
    connection.execute(insert(invocations), [_values(invocation) for invocation in batch])


def append_console(connection: Connection, late: Mapping[InvocationId, Sequence[ConsoleLine]]) -> None:
    """Add lines that came after their record was written."""
    for invocation_id, lines in late.items():
        connection.execute(
            update(invocations)
            .where(invocations.c.id == invocation_id)
            .values(console=invocations.c.console + _dump(lines))
        )


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


def _values(invocation: Invocation) -> dict[str, Any]:
    values = {name: getattr(invocation, name) for name in _PLAIN}
    values["door"] = invocation.door.value
    values["kind"] = invocation.kind.value
    values["outcome"] = invocation.outcome.value
    values["console"] = _dump(invocation.console)
    values["kill_report"] = invocation.kill_report.to_json() if invocation.kill_report else None
    return values


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
