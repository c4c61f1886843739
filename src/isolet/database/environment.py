"""Environment variables in the database: one sealed JSON object for each owner."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Connection, Table, insert, select, update

from isolet.database.tables.secrets import function_environments, project_environments
from isolet.ids import FunctionId, ProjectId

Stored = tuple[bytes, int]


def get_function_environment(connection: Connection, function_id: FunctionId) -> Stored | None:
    """The sealed set and when it last changed, in milliseconds."""
    return _get(connection, function_environments, function_environments.c.function_id, function_id)


def get_project_environment(connection: Connection, project_id: ProjectId) -> Stored | None:
    return _get(connection, project_environments, project_environments.c.project_id, project_id)


def put_function_environment(connection: Connection, function_id: FunctionId, sealed: bytes, now_ms: int) -> None:
    _put(connection, function_environments, function_environments.c.function_id, function_id, sealed, now_ms)


def put_project_environment(connection: Connection, project_id: ProjectId, sealed: bytes, now_ms: int) -> None:
    _put(connection, project_environments, project_environments.c.project_id, project_id, sealed, now_ms)


def _get(connection: Connection, table: Table, owner: Column[Any], owner_id: str) -> Stored | None:
    row = connection.execute(select(table).where(owner == owner_id)).one_or_none()
    return None if row is None else (bytes(row.sealed), row.updated_at_ms)


def _put(connection: Connection, table: Table, owner: Column[Any], owner_id: str, sealed: bytes, now_ms: int) -> None:
    values = {"sealed": sealed, "updated_at_ms": now_ms}
    if connection.execute(update(table).where(owner == owner_id).values(values)).rowcount == 0:
        connection.execute(insert(table).values({owner.name: owner_id, **values}))
