"""Inserts of many rows, past SQLAlchemy's own, which take several times the CPU of the rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection

Values = tuple[Any, ...]
# One statement for many rows: the driver gives up Python's lock for each statement, and to have it back from a busy
# main thread costs more than a row. A power of two.
_ROWS_A_STATEMENT = 128


class BulkInsert(Struct, frozen=True, kw_only=True):
    """`INSERT INTO {table} … ON CONFLICT {conflict}` of rows that have the same values in the columns `common`.

    To bind a value costs as much as to store it, so what rows have in common is bound once for all of them.
    """

    table: str
    own: tuple[str, ...]
    conflict: str
    common: tuple[str, ...] = ()

    def run(self, connection: Connection, groups: Mapping[Values, Sequence[Values]]) -> None:
        """`groups` has values of `common`, and those of `own` for each row that goes with them."""
        numbered = connection.dialect.paramstyle == "qmark"
        for common, rows in groups.items():
            for part in _parts(rows):
                text = _text(self, len(part), numbered)
                values = chain(common, *part) if numbered else chain.from_iterable((*common, *row) for row in part)
                connection.exec_driver_sql(text, tuple(values))


def _parts(rows: Sequence[Values]) -> Iterator[Sequence[Values]]:
    """Of a few sizes only, so that the driver knows their statements already."""
    first = 0
    while rest := len(rows) - first:
        size = min(1 << rest.bit_length() - 1, _ROWS_A_STATEMENT)
        yield rows[first : first + size]
        first += size


@cache
def _text(insert: BulkInsert, rows: int, numbered: bool) -> str:
    """With `?1`, `?2` …, or with the `%s` of drivers that cannot say the same value twice."""
    width, common = len(insert.own), len(insert.common)
    if numbered:
        shared = [f"?{place}" for place in range(1, common + 1)]
        starts = range(common + 1, common + 1 + rows * width, width)
        values = [", ".join([*shared, *(f"?{start + place}" for place in range(width))]) for start in starts]
    else:
        values = [", ".join(["%s"] * (common + width))] * rows
    columns = ", ".join((*insert.common, *insert.own))
    lines = ", ".join(f"({row})" for row in values)
    return f"INSERT INTO {insert.table} ({columns}) VALUES {lines} ON CONFLICT {insert.conflict}"  # noqa: S608 – our names
