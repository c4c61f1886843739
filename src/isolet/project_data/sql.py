"""A project's SQL databases, as its functions see them in `env.DB` and in further bindings."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, nullcontext
from dataclasses import dataclass
from typing import Any

from isolet.domain.stores import DEFAULT, StoreKind
from isolet.errors import InvalidInput, IsoletError, TooLarge, Unavailable
from isolet.ids import ProjectId
from isolet.project_data import dump
from isolet.project_data.exchange import ask, parts_of
from isolet.project_data.passing import is_rows, meta_of, passed_on
from isolet.runtime.config import STORE_HEADER
from isolet.runtime.storage.port import ProjectStorages

STATEMENT_MAX_BYTES = 100_000
# What workerd passes on at once, statements or rows; text that is not plain takes two bytes a character there.
MESSAGE_MAX_BYTES = 32 * 1024 * 1024
TOO_LARGE = f"statements and rows are larger than {MESSAGE_MAX_BYTES // 1024**2} MB together"
# The last bit of it is for what stands around the statements.
_TEXT_MAX_BYTES = 31 * 1024 * 1024
_TOO_LARGE = "Serialized RPC arguments or return values are limited"
_FULL = "SQLITE_FULL"
# `room.js` says so.
_OVER_LIMIT = "the project's storage is full"
_EXPORT_TRIES = 5
# Errors are smaller, and are told before a reply begins.
_CHECKED_BYTES = 64 * 1024
_BULK_TIMEOUT_S = 600.0
_AS_LISTS = "/query?resultsFormat=ROWS_AND_COLUMNS"
_COUNT = "SELECT count(*) AS n FROM {}"
_TABLES = (
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
    "AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\' ORDER BY name"
)
_TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))|(?P<semicolon>;)"""
    r"""|'[^']*(?:'|\Z)|"[^"]*(?:"|\Z)|`[^`]*(?:`|\Z)|\[[^\]]*(?:\]|\Z)|[\w$]+|\S""",
    re.DOTALL,
)
_TRIGGER = re.compile(r"(explain (query plan )?)?create (temp |temporary )?trigger ")
_BEGINNING_CHARS = 60
_THERE = re.compile(r"\b(?:table|view|index|trigger) .* already exists")


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlResult:
    """`rows` are objects by column name; a blob is an array of its bytes."""

    rows: list[dict[str, Any]]
    changes: int
    last_row_id: int
    rows_read: int
    rows_written: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlFigures:
    """How large the database is, and how many rows each table has."""

    size_bytes: int
    tables: dict[str, int]


@dataclass(frozen=True, slots=True)
class Place:
    """A database of a project."""

    project_id: ProjectId
    database: str = DEFAULT


class Sql:
    """Each method is about one database, which is there."""

    def __init__(self, storages: ProjectStorages) -> None:
        self._storages = storages

    async def query(self, place: Place, sql: str, params: Sequence[Any]) -> SqlResult:
        """Run a statement, or several apart by semicolons, in one transaction; the last one's result.

        Raises InvalidInput with SQLite's own text, and for a parameter that is no value.
        """
        bound = [_parameter(param, number) for number, param in enumerate(params, 1)]
        (result,) = await self._run(place, {"sql": sql, "params": bound})
        meta = result["meta"]
        if "changes" not in meta:
            raise InvalidInput("this statement is the runtime's own; GET the export instead")
        return SqlResult(
            rows=result["results"],
            changes=meta["changes"],
            last_row_id=meta["last_row_id"],
            rows_read=meta["rows_read"],
            rows_written=meta["rows_written"],
            size_bytes=meta["size_after"],
        )

    async def answer(
        self, place: Place, sql: str, params: Sequence[Any], *, arrays: bool = False
    ) -> AsyncIterator[bytes]:
        """The reply of a query as JSON, as it comes: what `SqlResult` has; no more than its parts is in memory.

        With `arrays`, rows are arrays, and `columns` has their names; then it is one statement. Raises like `query`,
        before anything is given.
        """
        body = await asyncio.to_thread(_statement, sql, params)
        parts = self._answer(place, body, _AS_LISTS if arrays else "/query")
        first = b""
        async for part in parts:
            first += part
            if len(first) >= _CHECKED_BYTES:
                break
        else:
            _check_answer(first)

        async def all_parts() -> AsyncGenerator[bytes, None]:
            async with aclosing(parts):
                yield first
                async for part in parts:
                    yield part

        return passed_on(all_parts(), arrays=arrays)

    async def _answer(self, place: Place, body: bytes, target: str) -> AsyncGenerator[bytes, None]:
        headers = {"content-type": "application/json", STORE_HEADER: place.database}
        async with (
            self._storages.use(place.project_id) as storage,
            aclosing(parts_of(storage.way_to(StoreKind.DATABASE), "POST", target, headers=headers, body=body)) as parts,
        ):
            async for part in parts:
                yield part

    async def figures(self, place: Place) -> SqlFigures:
        listed = await self.query(place, _TABLES, [])
        names = [str(row["name"]) for row in listed.rows]
        if not names:
            return SqlFigures(size_bytes=listed.size_bytes, tables={})
        counts = [{"sql": _COUNT.format(dump.identifier(name)), "params": []} for name in names]
        results = await self._run(place, counts)
        rows = {name: int(result["results"][0]["n"]) for name, result in zip(names, results, strict=True)}
        return SqlFigures(size_bytes=listed.size_bytes, tables=rows)

    async def export(self, place: Place, max_bytes: int) -> str:
        """The whole database as SQL text, each statement on a line of its own.

        Raises InvalidInput for what cannot be exported, and TooLarge for more than an import would take.
        """
        max_bytes = min(max_bytes, _TEXT_MAX_BYTES)
        try:
            for _ in range(_EXPORT_TRIES):
                text = await self._export(place, max_bytes)
                if text is not None:
                    return text
        except TooLarge as exc:
            raise TooLarge(
                f"the database as SQL text is larger than {max_bytes // 1024**2} MB; a backup has no such limit"
            ) from exc
        raise Unavailable("the tables change all the time; try again")

    async def _export(self, place: Place, max_bytes: int) -> str | None:
        """None when a table changed while its rows were asked for."""
        (schema,) = await self._rows(place, [dump.SCHEMA])
        names = dump.tables(schema)
        described = await self._rows(place, [dump.SCHEMA, *map(dump.columns_of, names)])
        tables = [
            dump.Table(name=name, columns=[column[1] for column in columns])
            for name, columns in zip(names, described[1:], strict=True)
        ]
        selects = [table.select for table in tables]
        (now, *rows) = await self._rows(place, [dump.SCHEMA, *selects], max_bytes=max_bytes)
        if not schema == described[0] == now:
            return None
        contents = list(zip(tables, rows, strict=True))
        return await asyncio.to_thread(_bounded, dump.statements(schema, contents), max_bytes)

    async def import_text(self, place: Place, text: str, *, replace: bool = False) -> int:
        """Run SQL text in one transaction; how many statements. Raises InvalidInput, and then nothing changed.

        With `replace`, all tables and views that are there are dropped first, in the same transaction.
        """
        statements = await asyncio.to_thread(lambda: list(split_statements(text)))
        if not statements:
            raise InvalidInput("there is no SQL statement to import")
        drops: list[str] = []
        if replace:
            (schema,) = await self._rows(place, [dump.SCHEMA])
            drops = dump.drops(schema)
        packed = await asyncio.to_thread(lambda: list(_packed([*drops, *statements])))
        try:
            await self._run(place, [{"sql": part, "params": []} for part in packed], bulk=True)
        except InvalidInput as exc:
            if replace or not _THERE.search(exc.message):
                raise
            raise InvalidInput(f"{exc.message}. Nothing was imported; ?replace=true drops what is there first") from exc
        return len(statements)

    async def _rows(self, place: Place, queries: Sequence[str], *, max_bytes: int | None = None) -> list[Any]:
        """The rows of each query, as lists; all of them are one transaction."""
        batch = [{"sql": query, "params": []} for query in queries]
        results = await self._run(place, batch, bulk=True, max_bytes=max_bytes, target=_AS_LISTS)
        return [result["results"]["rows"] for result in results]

    async def _run(
        self,
        place: Place,
        queries: Any,
        *,
        bulk: bool = False,
        max_bytes: int | None = None,
        target: str = "/query",
    ) -> list[dict[str, Any]]:
        async with self._storages.use(place.project_id) as storage:
            with storage.long_work() if bulk else nullcontext():
                answer = await ask(
                    storage.way_to(StoreKind.DATABASE),
                    "POST",
                    target,
                    headers={"content-type": "application/json", STORE_HEADER: place.database},
                    body=json.dumps(queries).encode(),
                    timeout_s=_BULK_TIMEOUT_S if bulk else 20.0,
                    max_bytes=max_bytes,
                )
        parsed = await asyncio.to_thread(json.loads, answer.body)
        if isinstance(parsed, dict):
            raise _failure(parsed)
        results: list[dict[str, Any]] = parsed
        return results


def _failure(answer: dict[str, Any]) -> IsoletError:
    """What a statement failed of."""
    error = str(answer.get("error", "the statement failed"))
    if error.startswith(_TOO_LARGE):
        return TooLarge(TOO_LARGE)
    if error.startswith(_OVER_LIMIT):
        return TooLarge(error)
    if error.endswith(_FULL):
        return Unavailable(f"the project's storage failed: {error}")
    return InvalidInput(error)


def _check_answer(answer: bytes) -> None:
    """Raises what a small answer says of a failure."""
    if not is_rows(answer):
        parsed = json.loads(answer)
        raise _failure(parsed if isinstance(parsed, dict) else {})
    if "changes" not in meta_of(answer):
        raise InvalidInput("this statement is the runtime's own; GET the export instead")


def _statement(sql: str, params: Sequence[Any]) -> bytes:
    """Raises InvalidInput for a parameter that is no value of SQL."""
    bound = [_parameter(param, place) for place, param in enumerate(params, 1)]
    return json.dumps({"sql": sql, "params": bound}).encode()


def _parameter(value: Any, place: int) -> Any:
    """As a function's `bind` takes it: a boolean is a number. Raises InvalidInput for what is no value of SQL."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, dict):
        raise InvalidInput(f"params: number {place} is an object; write it as JSON text")
    if isinstance(value, list) and not all(type(byte) is int and 0 <= byte <= 255 for byte in value):
        raise InvalidInput(f"params: number {place} is an array, and not one of bytes (0 to 255)")
    return value


def split_statements(text: str) -> Iterator[str]:
    """The statements of SQL text, semicolons in strings, comments and triggers minded; in time linear to its length."""
    start, beginning, trigger, closing = 0, "", False, 0
    for token in _TOKEN.finditer(text):
        if token.lastgroup == "comment":
            continue
        if token.lastgroup != "semicolon":
            word = token[0].lower()
            # A trigger ends with `; END ;` only.
            closing = 2 if closing == 1 and word == "end" else 0
            if len(beginning) < _BEGINNING_CHARS:
                beginning += word + " "
                trigger = trigger or _TRIGGER.fullmatch(beginning) is not None
        elif trigger and closing != 2:
            closing = 1
        else:
            if beginning:
                yield text[start : token.end()].strip()
            start, beginning, trigger, closing = token.end(), "", False, 0
    if beginning:
        yield text[start:].strip()


def _packed(statements: Sequence[str]) -> Iterator[str]:
    """As few texts as can hold the statements: each has its price. Raises InvalidInput for one that is too long."""
    parts: list[str] = []
    size = 0
    for statement in statements:
        length = len(statement.encode()) + 1
        if length - 1 > STATEMENT_MAX_BYTES:
            raise InvalidInput(f"a statement is longer than {STATEMENT_MAX_BYTES} bytes: {statement[:60]} …")
        if parts and size + length > STATEMENT_MAX_BYTES:
            yield "\n".join(parts)
            parts, size = [], 0
        parts.append(statement)
        size += length
    yield "\n".join(parts)


def _bounded(statements: Iterator[str], max_bytes: int) -> str:
    """Raises TooLarge."""
    lines, size = [], 0
    for statement in statements:
        lines.append(statement + "\n")
        size += 1 + len(statement) if statement.isascii() else 1 + max(2 * len(statement), len(statement.encode()))
        if size > max_bytes:
            raise TooLarge("the SQL text is too large")
    return "".join(lines)
