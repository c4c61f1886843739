"""Migrations of a database: SQL files, each applied once, and listed in the same table as wrangler does."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

from isolet.client import AsyncClient, Refused
from isolet.contract.database import SqlQuery
from isolet.workspace.errors import WorkspaceError
from isolet.workspace.model import Migrations

_NUMBER = re.compile(r"\d+")


async def pending(client: AsyncClient, project: str, root: Path, migrations: Migrations) -> list[str]:
    """The names of the files that are not applied, in the order of their numbers. Raises WorkspaceError, ApiError."""
    names = await asyncio.to_thread(files_in, root / migrations.folder)
    if not names:
        return []
    applied = await _applied(client, project, migrations)
    return [name for name in names if name not in applied]


async def apply(client: AsyncClient, project: str, root: Path, migrations: Migrations, name: str) -> None:
    """One file and its line in the table are one transaction. Raises WorkspaceError, and then nothing changed."""
    try:
        text = await asyncio.to_thread((root / migrations.folder / name).read_text)
    except (OSError, UnicodeDecodeError) as exc:
        raise WorkspaceError(f"cannot read {migrations.folder}/{name}: {exc}") from exc
    try:
        script = script_of(migrations.table, name, text)
        await client.database.import_text(project, script, database=migrations.database)
    except Refused as exc:
        cause = exc.text.partition(". Nothing was imported")[0]
        raise WorkspaceError(f"{migrations.folder}/{name} on {migrations.database}: {cause}") from exc


def script_of(table: str, name: str, text: str) -> bytes:
    """A migration with its line in the table, which is made as wrangler makes it."""
    identifier, quoted = _identifier(table), name.replace("'", "''")
    # The line break ends a comment, the semicolon a statement that has none.
    return f"{_create(identifier)};\n{text}\n;\nINSERT INTO {identifier} (name) VALUES ('{quoted}');\n".encode()


def files_in(folder: Path) -> Sequence[str]:
    """The names of a folder's migrations, in the order of the numbers that they begin with. Raises WorkspaceError."""
    try:
        found = [path.name for path in folder.iterdir() if path.name.endswith(".sql") and path.is_file()]
    except OSError as exc:
        raise WorkspaceError(f"cannot read the migrations in {folder}: {exc.strerror}") from exc
    return sorted(found, key=_order)


def _order(name: str) -> tuple[int, str]:
    number = _NUMBER.match(name)
    return int(number[0]) if number and len(number[0]) < 20 else 0, name


async def _applied(client: AsyncClient, project: str, migrations: Migrations) -> set[str]:
    """Reads only, so that asking changes nothing."""
    known = await client.stores.list_databases(project)
    if not any(store.name == migrations.database for store in known.data):
        return set()
    name = migrations.table
    query = SqlQuery(sql="SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", params=[name])
    if not (await client.database.query(project, query, database=migrations.database)).rows:
        return set()
    rows = await client.database.query(
        project,
        SqlQuery(sql=f"SELECT name FROM {_identifier(name)}"),  # noqa: S608
        database=migrations.database,
    )
    return {str(row["name"]) for row in rows.rows if isinstance(row, dict)}


def _identifier(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _create(table: str) -> str:
    return (
        f"CREATE TABLE IF NOT EXISTS {table}(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, "
        "applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)"
    )
