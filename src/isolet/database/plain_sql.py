"""Statements past SQLAlchemy's own, which cost several times the CPU of the rows: for what runs with every step.

Names of tables and columns are those of our own schema; values are always parameters.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, CursorResult
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

# PostgreSQL takes a row lock where a transaction is to change what it reads; SQLite has one writer.
LOCK = " FOR UPDATE"


def execute(connection: Connection, sql: str, values: Sequence[Any] = ()) -> CursorResult[Any]:
    """Run `sql`, whose parameters are written `?`."""
    return connection.exec_driver_sql(_dialect(sql, connection.dialect.paramstyle), tuple(values))


@lru_cache(maxsize=256)
def _dialect(sql: str, paramstyle: str) -> str:
    if paramstyle == "qmark":
        return sql.removesuffix(LOCK)
    return sql.replace("?", "%s")


@contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """What is written inside is undone when it raises. One may not hold another."""
    connection.exec_driver_sql("SAVEPOINT isolet")
    try:
        yield
    except DBAPIError:
        # With the transaction or the connection the savepoint may be gone: the first error says why.
        with contextlib.suppress(SQLAlchemyError):
            _undo(connection)
        raise
    except BaseException:
        _undo(connection)
        raise
    connection.exec_driver_sql("RELEASE SAVEPOINT isolet")


def _undo(connection: Connection) -> None:
    connection.exec_driver_sql("ROLLBACK TO SAVEPOINT isolet")
    connection.exec_driver_sql("RELEASE SAVEPOINT isolet")


def insert_rows(connection: Connection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows that all have the same columns."""
    if rows:
        values = [value for row in rows for value in row.values()]
        execute(connection, _insert(table, tuple(rows[0]), len(rows)), values)


@lru_cache(maxsize=256)
def _insert(table: str, columns: tuple[str, ...], rows: int) -> str:
    row = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * rows)}"  # noqa: S608


def update_row(connection: Connection, table: str, row_id: str, values: Mapping[str, Any]) -> None:
    if values:
        execute(connection, _update(table, tuple(values)), [*values.values(), row_id])


@lru_cache(maxsize=256)
def _update(table: str, columns: tuple[str, ...]) -> str:
    return f"UPDATE {table} SET {', '.join(f'{name} = ?' for name in columns)} WHERE id = ?"  # noqa: S608
