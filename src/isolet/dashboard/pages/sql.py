"""A console for the SQL databases of a project."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import Struct
from starlette.responses import Response

from isolet.client.errors import NotFound, Refused, UnexpectedReply, error_of, unexpected
from isolet.contract.database import SqlQuery, TableReply
from isolet.dashboard.sections import Section
from isolet.dashboard.visits import Visit

section = Section("SQL", "sql", api="POST /isolet/v1/projects/{slug}/database/query")
DEFAULT = "default"
_ROWS_SHOWN = 500
_CELL_CHARS = 1_000
# Longer than any name that there is.
_NAME_READ_CHARS = 100
# More than the rows of a query may have.
_REPLY_MAX_BYTES = 64 * 1024 * 1024
_read_at = json.JSONDecoder().raw_decode


class Outcome(Struct, frozen=True, kw_only=True):
    """`rows` are the first of them, as texts; None is NULL."""

    columns: list[str]
    rows: list[list[str | None]]
    total: int
    changes: int
    may_download: bool


@section.get("")
async def show(visit: Visit) -> Response:
    return await _render(visit, visit.query.get("database") or DEFAULT, sql=visit.query.get("sql", ""))


@section.post("")
async def run(visit: Visit, form: Mapping[str, str]) -> Response:
    database, sql = _database(form), form.get("sql", "").replace("\r\n", "\n")
    try:
        reply = await _query(visit, database, sql)
    except Refused as exc:
        return await _render(visit, database, sql=sql, status=exc.status, error=exc.text)
    return await _render(visit, database, sql=sql, outcome=await asyncio.to_thread(_outcome, reply))


@section.post("/csv")
async def download(visit: Visit, form: Mapping[str, str]) -> Response:
    """The rows of a statement that is run once more: pages offer it for those that changed nothing."""
    reply = await _query(visit, _database(form), form.get("sql", "").replace("\r\n", "\n"))
    text = await asyncio.to_thread(_csv, reply)
    headers = {"content-disposition": 'attachment; filename="rows.csv"', "cache-control": "no-store"}
    return Response(text, media_type="text/csv", headers=headers)


def _database(form: Mapping[str, str]) -> str:
    """The name of a database; of one that is too long as much as is refused."""
    return (form.get("database") or DEFAULT)[:_NAME_READ_CHARS]


def _csv(reply: bytes) -> bytes:
    text, rows = io.StringIO(), Rows(reply)
    writer = csv.writer(text)
    writer.writerow(rows.columns)
    for row in rows:
        writer.writerow(["" if cell is None else _text(cell) for cell in row])
    return text.getvalue().encode("utf-8", "replace")


async def _query(visit: Visit, database: str, sql: str) -> bytes:
    """The reply as it came: its rows are read one at a time. Raises Refused."""
    content = json.dumps(SqlQuery(sql=sql, rows="arrays").to_json()).encode()
    target = f"/isolet/v1/projects/{quote(visit.slug, safe='')}/database/query?{urlencode({'database': database})}"
    headers = [(b"content-type", b"application/json")]
    answer = await visit.api.send("POST", target, headers, content, most=_REPLY_MAX_BYTES)
    body = bytes(answer.body)
    if answer.status != 200 or len(body) < answer.size_bytes:
        told = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers}
        raise error_of(answer.status, told, body)
    return body


class Rows:
    """Reads the rows of a reply, each for itself: what one call of the parser reads holds up everybody else.

    `columns` are known at once, `figures` when the rows were read to their end.
    """

    def __init__(self, reply: bytes) -> None:
        """Raises UnexpectedReply, as reading does, for a reply that broke off."""
        self._text = reply.decode()
        self.figures: dict[str, Any] = {}
        self.columns, self._at = self._read(len('{"columns":'))

    def __iter__(self) -> Iterator[list[Any]]:
        at = self._at + len(',"rows":[')
        while not self._text.startswith("]", at):
            row, at = self._read(at)
            at += self._text.startswith(",", at)
            yield row
        try:
            self.figures = json.loads("{" + self._text[at + 2 :])
        except ValueError:
            raise self._broken() from None

    def _read(self, at: int) -> tuple[Any, int]:
        try:
            return _read_at(self._text, at)
        except ValueError:
            raise self._broken() from None

    def _broken(self) -> UnexpectedReply:
        return unexpected(200, self._text[-100:].encode(errors="replace"))


def _outcome(reply: bytes) -> Outcome:
    rows, shown, total = Rows(reply), list[list[str | None]](), 0
    for row in rows:
        total += 1
        if total <= _ROWS_SHOWN:
            shown.append([_cell(cell) for cell in row])
    return Outcome(
        columns=rows.columns,
        rows=shown,
        total=total,
        changes=rows.figures["changes"],
        may_download=bool(rows.columns) and not rows.figures["rows_written"],
    )


def _cell(value: Any) -> str | None:
    if value is None:
        return None
    text = _text(value)
    return text if len(text) <= _CELL_CHARS else f"{text[:_CELL_CHARS]}…"


def _text(value: Any) -> str:
    """A blob comes as a list of its bytes."""
    return bytes(value).hex(" ") if isinstance(value, list) else str(value)


async def _render(
    visit: Visit,
    database: str,
    *,
    sql: str,
    status: int = 200,
    error: str | None = None,
    outcome: Outcome | None = None,
) -> Response:
    names = [store.name for store in (await visit.api.stores.list_databases(visit.slug)).data]
    tables, size = await _tables(visit, database)
    return await visit.render(
        "sql.html",
        status=status,
        error=error,
        database=database,
        databases=sorted({DEFAULT, database, *names}),
        tables=tables,
        size=size,
        sql=sql,
        outcome=outcome,
        select_of=_select,
    )


def _select(table: str) -> str:
    """A statement that the user may run."""
    name = table.replace('"', '""')
    return f'SELECT * FROM "{name}" LIMIT 100'  # noqa: S608


async def _tables(visit: Visit, database: str) -> tuple[list[TableReply], int]:
    try:
        found = await visit.api.database.get(visit.slug, database=database)
    except NotFound:
        return [], 0
    return found.tables, found.size_bytes
