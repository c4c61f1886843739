"""Applies files of SQL to a database of a project, each once, in the order of their names.

The table that remembers them is the one that wrangler makes, so that a database that was moved goes on where it was.
"""

from __future__ import annotations

import re
from pathlib import Path

from isolet.cli.failures import Usage
from isolet.client import Client
from isolet.contract.database import SqlQuery

_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


def pending(client: Client, slug: str, folder: Path, *, database: str, table: str) -> list[str]:
    """The names of the files that were not applied. Raises Usage for a folder without any .sql file."""
    if not _TABLE.fullmatch(table):
        raise Usage(f"{table!r} is no name of a table for migrations")
    try:
        names = sorted(path.name for path in folder.iterdir() if path.suffix == ".sql" and path.is_file())
    except OSError as exc:
        raise Usage(f"cannot read {folder}: {exc.strerror}") from exc
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
    name = file.name.replace("'", "''")
    # The line break ends a comment, the semicolon a statement that has none.
    remembered = f"INSERT INTO \"{table}\" (name) VALUES ('{name}');"  # noqa: S608
    client.database.import_text(slug, f"{text}\n;\n{remembered}\n".encode(), database=database)


def _created(table: str) -> str:
    return (
        f'CREATE TABLE IF NOT EXISTS "{table}" (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, '
        "applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)"
    )
