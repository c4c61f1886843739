"""A project's SQL databases, as its functions see them in `env.DB` and in further bindings."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing, nullcontext
from typing import Any

from msgspec import Struct

from isolet.domain.stores import DEFAULT, StoreKind
from isolet.errors import InvalidInput, IsoletError, TooLarge, Unavailable
from isolet.ids import ProjectId
from isolet.project_data import dump
from isolet.project_data.exchange import ask, parts_of
from isolet.project_data.passing import is_rows, meta_of, passed_on, rows_in
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
# What SQLite says of a statement quotes as much of it as it likes.
_ERROR_MAX_BYTES = 4 * 1024 * 1024
_ERROR_MAX_CHARS = 2_000
_BULK_TIMEOUT_S = 600.0
# As JSON, with its quotes and line breaks escaped.
_BATCH_MAX_BYTES = 40 * 1024 * 1024
_AS_LISTS = "/query?resultsFormat=ROWS_AND_COLUMNS"
_COUNT = "SELECT count(*) AS n FROM {}"
_TABLES = (
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
    "AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\' ORDER BY name LIMIT 1000"
)
# With the spaces behind it. No match is long, since nothing else runs meanwhile; `long` begins what has no end nearby.
_TOKEN = re.compile(
    r"""(?:(?P<comment>--[^\n]{0,4096}\n|/\*.{0,4096}?\*/)|(?P<semicolon>;)"""
    r"""|'[^']{0,4096}'|"[^"]{0,4096}"|`[^`]{0,4096}`|\[[^\]]{0,4096}\]"""
    r"""|(?P<long>--|/\*|['"`\[])|(?P<word>[\w$]{1,4096}+)|(?P<space>\s)|\S)\s{0,4096}+""",
    re.DOTALL,
)
_ENDS = {"--": "\n", "/*": "*/", "[": "]"}
_TRIGGER = re.compile(r"(explain (query plan )?)?create (temp |temporary )?trigger ")
_BEGINNING_CHARS = 60
_THERE = re.compile(r"\b(?:table|view|index|trigger) .* already exists")


class SqlResult(Struct, frozen=True, kw_only=True):
    """`rows` are objects by column name; a blob is an array of its bytes."""

    rows: list[dict[str, Any]]
    changes: int
    last_row_id: int
    rows_read: int
    rows_written: int
    size_bytes: int


class SqlFigures(Struct, frozen=True, kw_only=True):
    """How large the database is, and how many rows each table has: of the first thousand, by name."""

    size_bytes: int
    tables: dict[str, int]


class Place(Struct, frozen=True):
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
        (result,) = await self._run(place, _statement(sql, params))
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
            if _is_enough(first):
                break
        else:
            _check_answer(first)

        async def all_parts() -> AsyncGenerator[bytes, None]:
            async with aclosing(parts):
                yield first
                async for part in parts:
                    yield part

        return passed_on(all_parts(), arrays=arrays)

    async def _answer(
        self, place: Place, body: bytes, target: str, *, timeout_s: float | None = None
    ) -> AsyncGenerator[bytes, None]:
        """With `timeout_s`, it is work that may take so long."""
        headers = {"content-type": "application/json", STORE_HEADER: place.database}
        async with self._storages.use(place.project_id) as storage:
            way = storage.way_to(StoreKind.DATABASE)
            waits = {} if timeout_s is None else {"timeout_s": timeout_s}
            asked = parts_of(way, "POST", target, headers=headers, body=body, **waits)
            with nullcontext() if timeout_s is None else storage.long_work():
                async with aclosing(asked) as parts:
                    async for part in parts:
                        yield part

    async def figures(self, place: Place) -> SqlFigures:
        listed = await self.query(place, _TABLES, [])
        names = [str(row["name"]) for row in listed.rows]
        if not names:
            return SqlFigures(size_bytes=listed.size_bytes, tables={})
        counts = [_COUNT.format(dump.identifier(name)) for name in names]
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
        if schema != described[0]:
            return None
        queries = [dump.SCHEMA, *(table.select for table in tables)]
        answer = await self._ask(place, queries, bulk=True, max_bytes=max_bytes, target=_AS_LISTS)
        return await asyncio.to_thread(_exported, answer, schema, tables, max_bytes)

    async def import_text(self, place: Place, text: str, *, replace: bool = False) -> int:
        """Run SQL text in one transaction; how many statements. Raises InvalidInput, and then nothing changed.

        With `replace`, all tables and views that are there are dropped first, in the same transaction.
        """
        count, packed = await asyncio.to_thread(lambda: _counted(_packed_of(split_statements(text))))
        if not count:
            raise InvalidInput("there is no SQL statement to import")
        drops: list[str] = []
        if replace:
            (schema,) = await self._rows(place, [dump.SCHEMA])
            drops = [part for _, part in _packed_of(dump.drops(schema))]
        try:
            await self._execute(place, await asyncio.to_thread(_batch, [*drops, *packed]))
        except InvalidInput as exc:
            if replace or not _THERE.search(exc.message):
                raise
            raise InvalidInput(f"{exc.message}. Nothing was imported; ?replace=true drops what is there first") from exc
        return count

    async def _execute(self, place: Place, body: bytes) -> None:
        """Run a batch whose rows nobody wants: there may be more of them than fit anywhere."""
        first = b""
        async with aclosing(self._answer(place, body, "/query", timeout_s=_BULK_TIMEOUT_S)) as parts:
            async for part in parts:
                if not _is_enough(first):
                    first += part
        if not is_rows(first):
            _check_answer(first)

    async def _rows(self, place: Place, queries: Sequence[str]) -> list[Any]:
        """The rows of each query, as lists; all of them are one transaction."""
        answer = await self._ask(place, queries, bulk=True, target=_AS_LISTS)
        return await asyncio.to_thread(_lists, answer)

    async def _run(self, place: Place, queries: Sequence[str] | bytes, **options: Any) -> list[dict[str, Any]]:
        """The results, with the options of `_ask`. For those whose size nobody chooses."""
        parsed = await asyncio.to_thread(json.loads, await self._ask(place, queries, **options))
        if isinstance(parsed, dict):
            raise _failure(parsed)
        results: list[dict[str, Any]] = parsed
        return results

    async def _ask(
        self,
        place: Place,
        queries: Sequence[str] | bytes,
        *,
        bulk: bool = False,
        max_bytes: int = MESSAGE_MAX_BYTES,
        target: str = "/query",
    ) -> bytes:
        """`queries` run in one transaction; as bytes, they are the request that asks for them."""
        body = queries if isinstance(queries, bytes) else await asyncio.to_thread(_batch, queries)
        async with self._storages.use(place.project_id) as storage:
            with storage.long_work() if bulk else nullcontext():
                answer = await ask(
                    storage.way_to(StoreKind.DATABASE),
                    "POST",
                    target,
                    headers={"content-type": "application/json", STORE_HEADER: place.database},
                    body=body,
                    timeout_s=_BULK_TIMEOUT_S if bulk else 20.0,
                    max_bytes=max_bytes,
                )
        return answer.body


def _is_enough(beginning: bytes) -> bool:
    """Whether the beginning of an answer shows whether it is one of rows; one that is not is read to its end.

    Raises InvalidInput for an error that is too large to be read.
    """
    if is_rows(beginning):
        return len(beginning) >= _CHECKED_BYTES
    if len(beginning) > _ERROR_MAX_BYTES:
        raise InvalidInput("the statement failed, and the text of its error is too large")
    return False


def _failure(answer: dict[str, Any]) -> IsoletError:
    """What a statement failed of."""
    error = str(answer.get("error", "the statement failed"))
    if error.startswith(_TOO_LARGE):
        return TooLarge(TOO_LARGE)
    if error.startswith(_OVER_LIMIT):
        return TooLarge(error)
    if error.endswith(_FULL):
        return Unavailable(f"the project's storage failed: {error}")
    return InvalidInput(error if len(error) <= _ERROR_MAX_CHARS else f"{error[:_ERROR_MAX_CHARS]}…")


def _lists(answer: bytes) -> list[list[Any]]:
    """The rows of each result, of which there may be as many as a project makes tables. Raises what an answer says."""
    if not is_rows(answer):
        _check_answer(answer)
    return [list(rows) for rows in rows_in(answer.decode())]


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
    for kind, token, end in _tokens(text):
        if kind in ("comment", "space"):
            continue
        if kind != "semicolon":
            word = token[kind].lower() if kind == "word" else token[0]
            # A trigger ends with `; END ;` only.
            closing = 2 if closing == 1 and word == "end" else 0
            if len(beginning) < _BEGINNING_CHARS:
                beginning += word + " "
                trigger = trigger or _TRIGGER.fullmatch(beginning) is not None
        elif trigger and closing != 2:
            closing = 1
        else:
            if beginning:
                yield text[start : token.end("semicolon")].strip()
            start, beginning, trigger, closing = end, "", False, 0
    if beginning:
        yield text[start:].strip()


def _tokens(text: str) -> Iterator[tuple[str | None, re.Match[str], int]]:
    """Of which kind each one is, its match, and where it ends."""
    at, size = 0, len(text)
    while at < size:
        for token in _TOKEN.finditer(text, at):
            kind, at = token.lastgroup, token.end()
            if kind == "long":
                at = _end_of(text, token)
                yield ("comment" if token[kind] in ("--", "/*") else None), token, at
                break
            yield kind, token, at


def _end_of(text: str, token: re.Match[str]) -> int:
    """Where a text or a comment ends that is long, or has no end."""
    begun = token["long"]
    end = _ENDS.get(begun, begun)
    found = text.find(end, token.end("long"))
    return len(text) if found < 0 else found + len(end)


def _batch(queries: Sequence[str]) -> bytes:
    """A request of them all, written one after the other: nothing else runs meanwhile.

    Raises TooLarge for what escapes make larger than a batch may be.
    """
    parts, size = [], 0
    for query in queries:
        parts.append(_query(query))
        size += len(parts[-1])
        if size > _BATCH_MAX_BYTES:
            raise TooLarge(TOO_LARGE)
    return b"[" + b",".join(parts) + b"]"


def _query(sql: str) -> bytes:
    # Escapes would make six bytes of a character that has two.
    text = json.dumps(sql, ensure_ascii=False).encode(errors="replace")
    return b'{"sql":' + text + b',"params":[]}'


def _counted(packed: Iterable[tuple[int, str]]) -> tuple[int, list[str]]:
    count, texts = 0, []
    for number, text in packed:
        count += number
        texts.append(text)
    return count, texts


def _packed_of(statements: Iterable[str]) -> Iterator[tuple[int, str]]:
    """As few texts as can hold the statements, each with their number: each text has its price.

    Raises InvalidInput for a statement that is too long.
    """
    parts: list[str] = []
    size = 0
    for statement in statements:
        length = len(statement.encode()) + 1
        if length - 1 > STATEMENT_MAX_BYTES:
            raise InvalidInput(f"a statement is longer than {STATEMENT_MAX_BYTES} bytes: {statement[:60]} …")
        if parts and size + length > STATEMENT_MAX_BYTES:
            yield len(parts), "\n".join(parts)
            parts, size = [], 0
        parts.append(statement)
        size += length
    if parts:
        yield len(parts), "\n".join(parts)


def _exported(answer: bytes, schema: Sequence[Any], tables: Sequence[dump.Table], max_bytes: int) -> str | None:
    """The text; rows become text one by one. None when the schema is not the one that was asked for first."""
    if not is_rows(answer):
        _check_answer(answer)
    results = rows_in(answer.decode())
    if list(next(results)) != list(schema):
        return None
    return _bounded(dump.statements(schema, zip(tables, results, strict=True)), max_bytes)


def _bounded(statements: Iterator[str], max_bytes: int) -> str:
    """Raises TooLarge."""
    lines, size = [], 0
    for statement in statements:
        lines.append(statement + "\n")
        size += 1 + len(statement) if statement.isascii() else 1 + max(2 * len(statement), len(statement.encode()))
        if size > max_bytes:
            raise TooLarge("the SQL text is too large")
    return "".join(lines)
