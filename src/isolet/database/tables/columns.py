"""What tables are made of: metadata that all share, columns that most have, indexes over a part of a table."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ColumnElement, ForeignKey, MetaData, String, TextClause

metadata = MetaData()

# Not made beside their tables: what only one kind of database takes makes SQLAlchemy load the dialects of both, at
# each start. `isolet.database.schema` makes them.
PARTIAL_INDEXES: list[tuple[str, TextClause, tuple[ColumnElement[object], ...]]] = []


def id_column(name: str = "id", *, primary_key: bool = True) -> Column[str]:
    return Column(name, String(36), primary_key=primary_key, nullable=False)


def owner_column(
    name: str, target: str, *, primary_key: bool = False, nullable: bool = False, constraint: str | None = None
) -> Column[str]:
    """The id of a row of another table, with which this row is deleted. `constraint` is the name of the foreign key."""
    key = ForeignKey(target, ondelete="CASCADE", name=constraint)
    return Column(name, String(36), key, primary_key=primary_key, nullable=nullable)


def ms_column(name: str, *, nullable: bool = False) -> Column[int]:
    """Milliseconds since the epoch."""
    return Column(name, BigInteger, nullable=nullable)


def partial_index(name: str, where: TextClause, *columns: ColumnElement[object]) -> None:
    """An index over the rows of which `where` is true, on the table of its columns."""
    PARTIAL_INDEXES.append((name, where, columns))
