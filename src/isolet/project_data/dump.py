"""SQL text that makes the same database again, to the last bit: SQLite itself writes each value.

What is asked of the database, and the statements that its answers make.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec import Struct

from isolet.errors import InvalidInput

# Tables first, filled before indexes, views and triggers see their rows; what hangs on another thing comes after it.
# A database that was restored may hold other values than text there.
SCHEMA = (
    "SELECT CAST(type AS TEXT), CAST(name AS TEXT), CAST(sql AS TEXT) FROM sqlite_schema "
    "WHERE sql IS NOT NULL AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\' "
    "AND (name = 'sqlite_sequence' OR name NOT LIKE 'sqlite\\_%' ESCAPE '\\') "
    "ORDER BY type = 'trigger', type <> 'table', name = 'sqlite_sequence', rowid"
)
# Text with a zero character has no literal of its own.
_LITERAL = (
    "CASE WHEN typeof({0}) = 'text' AND instr({0}, char(0)) THEN 'CAST(X''' || hex({0}) || ''' AS TEXT)' "
    "ELSE quote({0}) END"
)
_SELECT = "SELECT {} FROM {}"
_INSERT = "INSERT INTO {} ({}) VALUES\n"
# With the beginning, and four bytes a character, below what a statement may have.
_GROUP_MAX_CHARS = 20_000


class Table(Struct, frozen=True, kw_only=True):
    """`columns` are those that an INSERT may name."""

    name: str
    columns: Sequence[str]

    @property
    def select(self) -> str:
        """A statement that gives each row as SQL literals."""
        literals = ", ".join(_LITERAL.format(identifier(column)) for column in self.columns)
        return _SELECT.format(literals, identifier(self.name))

    def inserts(self, rows: Iterable[Sequence[str]]) -> Iterator[str]:
        columns = ", ".join(map(identifier, self.columns))
        beginning = _INSERT.format(identifier(self.name), columns)
        for values in _groups(f"({', '.join(row)})" for row in rows):
            yield f"{beginning}{values};"


def tables(schema: Sequence[Sequence[str]]) -> list[str]:
    """The names of those that have rows. Raises InvalidInput for a virtual one."""
    for kind, name, sql in schema:
        if kind == "table" and sql.upper().startswith("CREATE VIRTUAL TABLE"):
            raise InvalidInput(f"cannot export a database with a virtual table ({name}); a backup holds it")
    return [name for kind, name, _ in schema if kind == "table"]


def drops(schema: Sequence[Sequence[str]]) -> list[str]:
    """Statements that leave nothing of the schema; views first, and a virtual table before those that it is made of."""
    kinds = [(kind, name) for kind, name, _ in schema if kind in ("view", "table") and name != "sqlite_sequence"]
    if not kinds:
        return []
    ordered = sorted(kinds, key=lambda item: item[0] != "view")
    return [
        "PRAGMA defer_foreign_keys=TRUE;",
        *(f"DROP {kind.upper()} IF EXISTS {identifier(name)};" for kind, name in ordered),
    ]


def columns_of(name: str) -> str:
    return f"PRAGMA table_info({identifier(name)})"


def statements(schema: Sequence[Sequence[str]], contents: Iterator[tuple[Table, Iterable[Any]]]) -> Iterator[str]:
    """`contents` are in the order of `tables`; the rows of one are read before the next."""
    yield "PRAGMA defer_foreign_keys=TRUE;"
    for kind, name, sql in schema:
        yield "DELETE FROM sqlite_sequence;" if name == "sqlite_sequence" else f"{sql};"
        if kind == "table":
            table, values = next(contents)
            yield from table.inserts(values)


def _groups(rows: Iterable[str]) -> Iterator[str]:
    """Rows of one INSERT, each on a line."""
    group: list[str] = []
    size = 0
    for row in rows:
        if group and size + len(row) > _GROUP_MAX_CHARS:
            yield ",\n".join(group)
            group, size = [], 0
        group.append(row)
        size += len(row)
    if group:
        yield ",\n".join(group)


def identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
