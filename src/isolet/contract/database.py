"""The SQL database of a project."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from isolet.contract.models import Body, Reply
from isolet.contract.operations import Mode, Resource, operation, stream


class SqlQuery(Body):
    """`params` take the places of `?`; a blob is an array of its bytes.

    `rows` says how a row of the reply looks: `objects` by column name, where of several columns with one name the last
    is there, or `arrays`, with the names in `columns`.
    """

    sql: str
    params: list[Any] = Field(default_factory=list)
    rows: Literal["objects", "arrays"] = "objects"


class SqlReply(Reply):
    """Rows are objects, or arrays where those were asked for. `columns` is there with arrays."""

    rows: list[dict[str, Any]] | list[list[Any]]
    columns: list[str] | None = None
    changes: int
    last_row_id: int
    rows_read: int
    rows_written: int
    size_bytes: int


class TableReply(Reply):
    name: str
    rows: int


class DatabaseReply(Reply):
    size_bytes: int
    tables: list[TableReply]


class ImportReply(Reply):
    statements: int


class Database(Resource[Mode]):
    tag = "database"

    @operation("GET", "/projects/{slug}/database")
    def get(self, slug: str, *, database: str = "default") -> DatabaseReply:
        """The size of a SQL database, and its tables."""

    @operation("POST", "/projects/{slug}/database/query")
    def query(self, slug: str, body: SqlQuery, *, database: str = "default") -> SqlReply:
        """Run one SQL statement with parameters."""

    @stream("GET", "/projects/{slug}/database/export", media_type="application/sql")
    def export(self, slug: str, *, database: str = "default") -> bytes:
        """SQL text in UTF-8."""

    @operation("POST", "/projects/{slug}/database/import")
    def import_text(
        self, slug: str, content: bytes, *, replace: bool = False, database: str = "default"
    ) -> ImportReply:
        """SQL text in UTF-8."""
