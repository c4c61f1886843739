"""Where the database is."""

from __future__ import annotations

from sqlalchemy import Column, Integer, Table, Text

from isolet.database.tables.columns import metadata

# One row: where this database was when a server last started on it.
database_place = Table(
    "database_place",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("place", Text, nullable=False),
)
