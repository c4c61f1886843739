"""Inserts of many rows, past SQLAlchemy's own, which take several times the CPU of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection

# One statement for many rows: the driver gives up Python's lock for each statement, and to have it back from a busy
# main thread costs more than a row.
_ROWS_A_STATEMENT = 50
# Where a row's own value goes, in the words of `insert_rows`.
OWN = "?"


def insert_rows(
    connection: Connection,
    into: str,
    values: tuple[str, ...],
    conflict: str,
    rows: Sequence[tuple[Any, ...]],
) -> None:
    """`INSERT INTO {into} VALUES …, … ON CONFLICT {conflict}`.

    `values` has, for each column, `OWN` or SQL that is the same for all rows; `rows` hold the own ones in their order.
    """
    for first in range(0, len(rows), _ROWS_A_STATEMENT):
        part = rows[first : first + _ROWS_A_STATEMENT]
        text = _text(connection.dialect.paramstyle, into, values, conflict, len(part))
        connection.exec_driver_sql(text, tuple(chain.from_iterable(part)))


@cache
def _text(paramstyle: str, into: str, values: tuple[str, ...], conflict: str, rows: int) -> str:
    mark = OWN if paramstyle == "qmark" else "%s"
    row = ", ".join(mark if value == OWN else value for value in values)
    return f"INSERT INTO {into} VALUES {', '.join([f'({row})'] * rows)} ON CONFLICT {conflict}"  # noqa: S608 – our names
