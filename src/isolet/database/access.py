"""API keys in the database: digests, never the keys."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select

from isolet.database.schema import api_keys
from isolet.domain.access import Key, Role
from isolet.ids import KeyId, ProjectId


def insert_key(connection: Connection, key: Key) -> None:
    connection.execute(
        insert(api_keys).values(
            id=key.id,
            project_id=key.project_id,
            name=key.name,
            role=key.role.value,
            digest=key.digest,
            created_at_ms=key.created_at_ms,
        )
    )


def delete_key(connection: Connection, project_id: ProjectId, key_id: KeyId) -> bool:
    """Whether there was such a key in that project."""
    found = connection.execute(delete(api_keys).where(api_keys.c.id == key_id, api_keys.c.project_id == project_id))
    return found.rowcount > 0


def list_keys(
    connection: Connection,
    project_id: ProjectId | None = None,
    *,
    after: KeyId | None = None,
    limit: int | None = None,
) -> list[Key]:
    """Oldest first, from behind `after`; of every project when none is named. Without `limit` all of them."""
    query = select(api_keys).order_by(api_keys.c.id).limit(limit)
    if project_id is not None:
        query = query.where(api_keys.c.project_id == project_id)
    if after is not None:
        query = query.where(api_keys.c.id > after)
    return [_key(row) for row in connection.execute(query)]


def _key(row: Row[Any]) -> Key:
    return Key(
        id=row.id,
        project_id=row.project_id,
        name=row.name,
        role=Role(row.role),
        digest=bytes(row.digest),
        created_at_ms=row.created_at_ms,
    )
