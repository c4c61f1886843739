"""A console for the SQL databases of a project."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from isolet.client.errors import NotFound, Refused
from isolet.contract.database import SqlQuery, SqlReply, TableReply
from isolet.dashboard.sections import Section
from isolet.dashboard.visits import Visit

section = Section("SQL", "sql", api="POST /isolet/v1/projects/{slug}/database/query")
DEFAULT = "default"
_ROWS_SHOWN = 500
_CELL_CHARS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
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
    database, sql = form.get("database") or DEFAULT, form.get("sql", "").replace("\r\n", "\n")
    try:
        reply = await _query(visit, database, sql)
    except Refused as exc:
        return await _render(visit, database, sql=sql, status=exc.status, error=exc.text)
    return await _render(visit, database, sql=sql, outcome=await asyncio.to_thread(_outcome, reply))


@section.post("/csv")
async def download(visit: Visit, form: Mapping[str, str]) -> Response:
    """The rows of a statement that is run once more: pages offer it for those that changed nothing."""
    reply = await _query(visit, form.get("database") or DEFAULT, form.get("sql", "").replace("\r\n", "\n"))
    text = await asyncio.to_thread(_csv, reply)
    headers = {"content-disposition": 'attachment; filename="rows.csv"', "cache-control": "no-store"}
    return Response(text, media_type="text/csv", headers=headers)


def _csv(reply: SqlReply) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(reply.columns or [])
    writer.writerows(["" if cell is None else _text(cell) for cell in row] for row in reply.rows)
    return text.getvalue().encode("utf-8", "replace")


async def _query(visit: Visit, database: str, sql: str) -> SqlReply:
    return await visit.api.database.query(visit.slug, SqlQuery(sql=sql, rows="arrays"), database=database)


def _outcome(reply: SqlReply) -> Outcome:
    rows = [[_cell(cell) for cell in row] for row in reply.rows[:_ROWS_SHOWN]]
    columns = list(reply.columns or [])
    return Outcome(
        columns=columns,
        rows=rows,
        total=len(reply.rows),
        changes=reply.changes,
        may_download=bool(columns) and not reply.rows_written,
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
