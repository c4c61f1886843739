"""Rows that several servers may want to write, of which one is to do it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Table, literal
from sqlalchemy.dialects import postgresql, sqlite


def insert_once(connection: Connection, table: Table, **values: Any) -> bool:
    """Whether the row is new. False for one whose key is taken, which is left as it is.

    While another transaction has inserted the same key and not committed, this waits for its end.
    """
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    # What counts rows elsewhere does not count inserted ones with every driver.
    statement = insert(table).values(**values).on_conflict_do_nothing().returning(literal(True))
    return connection.execute(statement).first() is not None
