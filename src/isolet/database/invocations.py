"""Records of calls, written in batches.

Console lines and outgoing requests are newline-delimited JSON, so late ones are appended.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from msgspec import Struct, field
from sqlalchemy import ColumnElement, Connection, Row, Select, TextClause, or_, select, update

from isolet.database.bulk import BulkInsert, Values
from isolet.database.tables.invocations import NOT_SUCCEEDED, NOT_SYNC, invocations
from isolet.domain.invocations import ConsoleLine, Door, Invocation, Kind, Outcome
from isolet.domain.kills import KillReport
from isolet.domain.outgoing import OutgoingEvent
from isolet.domain.search import CallFilter, CallPage, Status
from isolet.errors import NotFound
from isolet.ids import FunctionId, InvocationId, ProjectId, first_of_ms

# What the calls of a function mostly have in common.
_COMMON = (
    *("project_id", "function_id", "function_name", "version", "method", "memory_limit_mb"),
    *("request_truncated", "response_truncated", "request_redacted", "error", "stack"),
    *("door", "kind", "outcome", "kill_report"),
)
_OWN = (
    *("id", "path", "query", "status", "started_at_ms", "duration_us", "cold_start_us", "queue_us"),
    *(
        "response_bytes",
        "memory_bytes",
        "size_bytes",
        "console",
        "outgoing",
        "request_body",
        "response_body",
        "request_headers",
    ),
)
# SQLite's driver looks for a converter of every value that is no plain text or number, enums and bytes among them, and
# that takes longer than to store it.
_common = attrgetter(*_COMMON[:-4], "door._value_", "kind._value_", "outcome._value_", "kill_report")
_own = attrgetter(*_OWN[:-6])
# A page looks at so many records at most; what it has not seen is for the next page.
# What a list does without: of one call it may be megabytes.
_LARGE: Mapping[str, Any] = {
    "stack": None,
    "request_body": b"",
    "response_body": b"",
    "console": "",
    "outgoing": "",
    "query": "",
    "request_headers": b"",
}
_SMALL = [column for column in invocations.c if column.name not in _LARGE]
_WINDOW_ROWS = 10_000
_ENDS = "null\n"
_QUEUED_MS = 10 * 60 * 1000
_good = invocations.c.status.between(200, 299)
_failed = or_(invocations.c.outcome != Outcome.OK.value, invocations.c.status >= 500)
_faulty = invocations.c.outcome != Outcome.OK.value
_refused = or_(invocations.c.status >= 400, invocations.c.error.is_not(None))
# What each status means, and whether all of it is in the index of calls without success.
_STATUS: Mapping[Status, tuple[ColumnElement[bool], bool]] = {
    Status.SUCCEEDED: (~_failed, False),
    Status.FAILED: (_failed, True),
    Status.OK_2XX: (_good, False),
    Status.REDIRECT_3XX: (invocations.c.status.between(300, 399), True),
    Status.CLIENT_4XX: (invocations.c.status.between(400, 499), True),
    Status.SERVER_5XX: (invocations.c.status.between(500, 599), True),
    Status.FAULT: (_faulty, True),
    Status.NO_FAULT: (~_faulty, False),
    Status.NOT_2XX: (~_good, True),
}
_AGAIN = ", ".join(f"{name} = excluded.{name}" for name in (*_COMMON, *_OWN) if name != "id")
_INSERT = BulkInsert(table=invocations.name, common=_COMMON, own=_OWN, conflict=f"(id) DO UPDATE SET {_AGAIN}")


def insert_invocations(connection: Connection, batch: Iterable[Invocation]) -> dict[ProjectId, int]:
    """Write records; how many bytes those of each project take.

    A call that is tried again keeps its id: the record of its last attempt stays.
    """
    groups: dict[Values, list[Values]] = {}
    sizes: dict[ProjectId, int] = {}
    for call in {call.id: call for call in batch}.values():
        size = call.size_bytes
        sizes[call.project_id] = sizes.get(call.project_id, 0) + size
        groups.setdefault(_common(call), []).append(
            (
                *_own(call),
                size,
                _dump(call.console, ends=call.console_truncated) if call.console or call.console_truncated else "",
                _dump_outgoing(call.outgoing) if call.outgoing else "",
                bytearray(call.request_body),
                bytearray(call.response_body),
                bytearray(call.request_headers),
            )
        )
    _INSERT.run(connection, {_stored(common): rows for common, rows in groups.items()})
    return sizes


def _stored(common: Values) -> Values:
    *others, report = common
    return (*others, report if report is None else json.dumps(report.to_json()))


class Late(Struct):
    """What a call said after its record was written."""

    console: list[ConsoleLine] = field(default_factory=list)
    outgoing: list[OutgoingEvent] = field(default_factory=list)


def append_late(connection: Connection, late: Mapping[InvocationId, Late]) -> None:
    """Add what came after records were written."""
    for invocation_id, added in late.items():
        lines, ends = [line for line in added.console if not line.ends], any(line.ends for line in added.console)
        console, outgoing = _dump(lines, ends=ends), _dump_outgoing(added.outgoing)
        connection.execute(
            update(invocations)
            .where(invocations.c.id == invocation_id)
            .values(
                console=invocations.c.console + console,
                outgoing=invocations.c.outgoing + outgoing,
                size_bytes=invocations.c.size_bytes + len(console) + len(outgoing),
            )
        )


def last_statuses(connection: Connection, function_ids: Sequence[FunctionId]) -> dict[FunctionId, int]:
    """The status of each function's last call; those without a record are left out."""
    column = invocations.c
    last = select(column.function_id, column.status).order_by(column.id.desc()).limit(1)
    found = (connection.execute(last.where(column.function_id == one)).one_or_none() for one in function_ids)
    return {FunctionId(row.function_id): row.status for row in found if row is not None}


def list_invocations(
    connection: Connection, function_id: FunctionId, *, limit: int, succeeded: bool | None = None
) -> list[Invocation]:
    """Newest first. `succeeded` keeps statuses 200–299 (true) or all others (false)."""
    status = None if succeeded is None else Status.OK_2XX if succeeded else Status.NOT_2XX
    return list_calls(connection, function_id, limit=limit, status=status)


def list_calls(
    connection: Connection,
    function_id: FunctionId,
    *,
    limit: int,
    status: Status | None = None,
) -> list[Invocation]:
    """A function's calls with everything about them, newest first."""
    query = select(invocations).where(invocations.c.function_id == function_id).order_by(invocations.c.id.desc())
    if status is not None:
        condition, rare = _STATUS[status]
        query = query.where(condition, NOT_SUCCEEDED) if rare else query.where(condition)
    return [read_invocation(row) for row in connection.execute(query.limit(limit))]


def list_log(connection: Connection, /, function_id: FunctionId, **wanted: Any) -> list[Invocation]:
    """What `log_of` selects."""
    return [read_invocation(row) for row in connection.execute(log_of(function_id, **wanted))]


def list_log_ids(connection: Connection, /, function_id: FunctionId, **wanted: Any) -> list[InvocationId]:
    """The ids of what `log_of` selects."""
    return list(connection.scalars(log_of(function_id, **wanted).with_only_columns(invocations.c.id)))


def log_of(
    function_id: FunctionId,
    *,
    limit: int,
    after_ms: int | None = None,
    failed: bool | None = None,
    ids: Sequence[InvocationId] | None = None,
) -> Select[Any]:
    """A function's calls that began after `after_ms`, newest first. `failed` keeps those with an error or a status of
    400 or more, or all others; `ids` keeps these."""
    query: Select[Any] = (
        select(invocations).where(invocations.c.function_id == function_id).order_by(invocations.c.id.desc())
    )
    if after_ms is not None:
        query = query.where(_made_since(after_ms), invocations.c.started_at_ms > after_ms)
    if failed is not None:
        query = query.where(_refused, NOT_SUCCEEDED) if failed else query.where(~_refused)
    if ids is not None:
        query = query.where(invocations.c.id.in_(ids))
    return query.limit(limit)


def list_ids(connection: Connection, function_id: FunctionId, *, limit: int, after_ms: int) -> list[InvocationId]:
    """The ids of all calls of a function that may have begun after `after_ms`, newest first: an index alone knows."""
    query = select(invocations.c.id).where(invocations.c.function_id == function_id, _made_since(after_ms))
    return list(connection.scalars(query.order_by(invocations.c.id.desc()).limit(limit)))


def _made_since(after_ms: int) -> ColumnElement[bool]:
    """Records are in the order in which calls were made; one that waited in a queue may begin that much later."""
    return invocations.c.id >= first_of_ms(after_ms - _QUEUED_MS)


def get_invocation(connection: Connection, invocation_id: str) -> Invocation:
    """Raises NotFound."""
    row = connection.execute(select(invocations).where(invocations.c.id == invocation_id)).one_or_none()
    if row is None:
        raise NotFound("Invocation not found")
    return read_invocation(row)


def find_invocations(connection: Connection, wanted: CallFilter) -> CallPage:
    """A page of calls without what may be large in them: `_LARGE`. However rare they are, it looks at a bounded part
    of the records.
    """
    scope = _scope(wanted)
    end: str | None = connection.scalar(window_end(wanted))  # type: ignore[assignment]
    query = select(*_SMALL).where(*scope, *_residue(wanted)).order_by(invocations.c.id.desc())
    if end is not None:
        query = query.where(invocations.c.id >= end)
    rows = connection.execute(query.limit(wanted.limit + 1)).all()
    calls = [read_invocation(row) for row in rows[: wanted.limit]]
    if len(rows) > wanted.limit:
        return CallPage(calls=calls, following=calls[-1].id)
    return CallPage(calls=calls, following=end)


def window_end(wanted: CallFilter) -> Select[tuple[str]]:
    """The id of the last record that a page looks at, when there are more than it may."""
    query = select(invocations.c.id).where(*_scope(wanted)).order_by(invocations.c.id.desc())
    return query.offset(_WINDOW_ROWS).limit(1)


def _scope(wanted: CallFilter) -> list[ColumnElement[bool] | TextClause]:
    """What an index answers alone."""
    column = invocations.c
    conditions: list[ColumnElement[bool] | TextClause] = [
        column.project_id == wanted.project_id
        if wanted.function_id is None
        else column.function_id == wanted.function_id
    ]
    if wanted.before is not None:
        conditions.append(column.id < wanted.before)
    if wanted.since_ms is not None:
        conditions.append(column.id >= first_of_ms(wanted.since_ms))
    if wanted.until_ms is not None:
        conditions.append(column.id < first_of_ms(wanted.until_ms))
    if wanted.status is not None and _STATUS[wanted.status][1]:
        conditions.append(NOT_SUCCEEDED)
    elif wanted.kind not in (None, Kind.SYNC):
        conditions.append(NOT_SYNC)
    return conditions


def _residue(wanted: CallFilter) -> list[ColumnElement[bool]]:
    """What each record within the window is looked at for."""
    column = invocations.c
    conditions: list[ColumnElement[bool]] = []
    if wanted.function_id is not None:
        # Without an operand for an index: SQLite would take the project's, and walk past other functions' calls.
        conditions.append(column.project_id.concat("") == wanted.project_id)
    if wanted.door is not None:
        conditions.append(column.door == wanted.door.value)
    if wanted.kind is not None:
        conditions.append(column.kind == wanted.kind.value)
    if wanted.status is not None:
        conditions.append(_STATUS[wanted.status][0])
    if wanted.text:
        conditions.append(
            or_(
                column.path.icontains(wanted.text, autoescape=True),
                column.error.icontains(wanted.text, autoescape=True),
            )
        )
    return conditions


def _dump(lines: Sequence[ConsoleLine], *, ends: bool) -> str:
    """The console's end, `null`, says that more was printed."""
    text = "".join(json.dumps(_members(line), separators=(",", ":")) + "\n" for line in lines)
    return text + _ENDS if ends else text


def _members(line: ConsoleLine) -> list[object]:
    members = [line.level, line.at_ms, line.message, line.stack]
    return [*members, True] if line.cut else members


def _read_console(text: str) -> tuple[list[ConsoleLine], bool]:
    """The lines, and whether more was printed."""
    rows = [json.loads(row) for row in text.splitlines()]
    lines = [
        ConsoleLine(level=row[0], at_ms=row[1], message=row[2], stack=row[3], cut=len(row) > 4) for row in rows if row
    ]
    return lines, len(lines) < len(rows)


def _dump_outgoing(events: Sequence[OutgoingEvent]) -> str:
    return "".join(json.dumps(event, separators=(",", ":")) + "\n" for event in events)


def _read_outgoing(text: str) -> list[OutgoingEvent]:
    return [OutgoingEvent(*json.loads(row)) for row in text.splitlines()]


def read_invocation(row: Row[Any]) -> Invocation:
    values = {**_LARGE, **row._mapping}
    values["door"] = Door(row.door)
    values["kind"] = Kind(row.kind)
    values["outcome"] = Outcome(row.outcome)
    values["kill_report"] = KillReport.from_json(row.kill_report) if row.kill_report else None
    for name in ("request_headers", "request_body", "response_body"):
        values[name] = bytes(values[name] or b"")
    values["console"], values["console_truncated"] = _read_console(values["console"])
    values["outgoing"] = _read_outgoing(values["outgoing"])
    del values["size_bytes"]
    return Invocation(**values)
