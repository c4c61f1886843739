"""A project's SQL database, as its functions see it in `env.DB`."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from isolet.errors import InvalidInput, TooLarge
from isolet.ids import ProjectId
from isolet.runtime.storage import Storages
from isolet.storage.exchange import ask

STATEMENT_MAX_BYTES = 100_000
_EXPORT = "PRAGMA miniflare_d1_export(?,?,?);"
_BULK_TIMEOUT_S = 600.0
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


class Sql:
    def __init__(self, storages: Storages) -> None:
        self._storages = storages

    async def query(self, project_id: ProjectId, sql: str, params: Sequence[Any]) -> SqlResult:
        """Run a statement, or several apart by semicolons, in one transaction; the last one's result.

        Raises InvalidInput with SQLite's own text.
        """
        (result,) = await self._run(project_id, {"sql": sql, "params": list(params)})
        meta = result["meta"]
        return SqlResult(
            rows=result["results"],
            changes=meta["changes"],
            last_row_id=meta["last_row_id"],
            rows_read=meta["rows_read"],
            rows_written=meta["rows_written"],
            size_bytes=meta["size_after"],
        )

    async def figures(self, project_id: ProjectId) -> SqlFigures:
        listed = await self.query(project_id, _TABLES, [])
        names = [str(row["name"]) for row in listed.rows]
        if not names:
            return SqlFigures(size_bytes=listed.size_bytes, tables={})
        counts = [{"sql": _COUNT.format(_identifier(name)), "params": []} for name in names]
        results = await self._run(project_id, counts)
        rows = {name: int(result["results"][0]["n"]) for name, result in zip(names, results, strict=True)}
        return SqlFigures(size_bytes=listed.size_bytes, tables=rows)

    async def export(self, project_id: ProjectId, max_bytes: int) -> str:
        """The whole database as SQL text, one statement a line.

        Raises InvalidInput for what cannot be exported, and TooLarge for more than an import would take.
        """
        try:
            (result,) = await self._run(project_id, {"sql": _EXPORT, "params": [0, 0]}, bulk=True, max_bytes=max_bytes)
        except TooLarge as exc:
            raise TooLarge(
                f"the database as SQL text is larger than {max_bytes // 1024**2} MB; a backup has no such limit"
            ) from exc
        (statements,) = result["results"]
        return "".join(f"{statement}\n" for statement in statements)

    async def import_text(self, project_id: ProjectId, text: str) -> int:
        """Run SQL text in one transaction; how many statements. Raises InvalidInput, and then nothing changed."""
        statements = await asyncio.to_thread(lambda: list(split_statements(text)))
        if not statements:
            raise InvalidInput("there is no SQL statement to import")
        for statement in statements:
            if len(statement.encode()) > STATEMENT_MAX_BYTES:
                raise InvalidInput(f"a statement is longer than {STATEMENT_MAX_BYTES} bytes: {statement[:60]} …")
        batch = [{"sql": statement, "params": []} for statement in statements]
        await self._run(project_id, batch, bulk=True)
        return len(statements)

    async def _run(
        self, project_id: ProjectId, queries: Any, *, bulk: bool = False, max_bytes: int | None = None
    ) -> list[dict[str, Any]]:
        async with self._storages.use(project_id) as storage:
            storage.patient += bulk
            try:
                answer = await ask(
                    storage.database,
                    "POST",
                    "/query",
                    headers={"content-type": "application/json"},
                    body=json.dumps(queries).encode(),
                    timeout_s=_BULK_TIMEOUT_S if bulk else 20.0,
                    max_bytes=max_bytes,
                )
            finally:
                storage.patient -= bulk
        parsed = json.loads(answer.body)
        if isinstance(parsed, dict):
            raise InvalidInput(str(parsed.get("error", "the statement failed")))
        results: list[dict[str, Any]] = parsed
        return results


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


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
