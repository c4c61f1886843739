"""Applies files of SQL to a database of a project, each once, in the order of the numbers that they begin with.

The table that remembers them is the one that wrangler makes, so that a database that was moved goes on where it was.
"""

from __future__ import annotations

import re
from pathlib import Path

from isolet.cli.failures import Usage
from isolet.client import Client
from isolet.contract.database import SqlQuery
from isolet.workspace.errors import WorkspaceError
from isolet.workspace.migrating import files_in, script_of

_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


def pending(client: Client, slug: str, folder: Path, *, database: str, table: str) -> list[str]:
    """The names of the files that were not applied. Raises Usage for a folder without any .sql file."""
    if not _TABLE.fullmatch(table):
        raise Usage(f"{table!r} is no name of a table for migrations")
    try:
        names = files_in(folder)
    except WorkspaceError as exc:
        raise Usage(exc.message) from exc
    if not names:
        raise Usage(f"there is no .sql file in {folder}")
    client.database.query(slug, SqlQuery(sql=_created(table)), database=database)
    applied = client.database.query(
        slug,
        SqlQuery(sql=f'SELECT name FROM "{table}"', rows="arrays"),  # noqa: S608
        database=database,
    )
    done = {row[0] for row in applied.rows if isinstance(row, list)}
    return [name for name in names if name not in done]


def apply(client: Client, slug: str, file: Path, *, database: str, table: str) -> None:
    """Run a file and remember it, in one transaction."""
    try:
        text = file.read_text()
    except (OSError, ValueError) as exc:
        raise Usage(f"cannot read {file}: {exc}") from exc
    client.database.import_text(slug, script_of(table, file.name, text), database=database)


def _created(table: str) -> str:
    return (
        f'CREATE TABLE IF NOT EXISTS "{table}" (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, '
        "applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)"
    )
