"""API keys in the database: digests, never the keys."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from isolet.database.projects import lock_project
from isolet.database.tables.identity import api_keys
from isolet.domain.access import Key, Role
from isolet.errors import LimitReached
from isolet.ids import KeyId, ProjectId

_MARKED_AT_ONCE = 500


def insert_key(connection: Connection, key: Key, *, most: int | None = None) -> list[KeyId]:
    """The keys that made room for it: where the project has `most`, all that expired.

    Raises LimitReached when `most` others are good still.
    """
    gone = [] if most is None else _make_room(connection, key.project_id, most, key.created_at_ms)
    connection.execute(
        insert(api_keys).values(
            id=key.id,
            project_id=key.project_id,
            name=key.name,
            role=key.role.value,
            digest=key.digest,
            created_at_ms=key.created_at_ms,
            expires_at_ms=key.expires_at_ms,
        )
    )
    return gone


def _make_room(connection: Connection, project_id: ProjectId, most: int, now_ms: int) -> list[KeyId]:
    lock_project(connection, project_id)
    own = api_keys.c.project_id == project_id
    count = connection.scalar(select(func.count()).select_from(api_keys).where(own)) or 0
    if count < most:
        return []
    expired = (own, api_keys.c.expires_at_ms <= now_ms)
    gone = [KeyId(found) for found in connection.scalars(select(api_keys.c.id).where(*expired))]
    if count - len(gone) >= most:
        raise LimitReached(f"The project has {most} keys, which is its limit: delete one, or ask for more")
    connection.execute(delete(api_keys).where(*expired))
    return gone


def mark_used(connection: Connection, key_ids: Collection[KeyId], at_ms: int) -> None:
    """Keys that were used up to that time; those that are gone are left alone."""
    ordered = sorted(key_ids)
    for start in range(0, len(ordered), _MARKED_AT_ONCE):
        some = api_keys.c.id.in_(ordered[start : start + _MARKED_AT_ONCE])
        found = update(api_keys).where(some).values(last_used_at_ms=at_ms)
        connection.execute(found.where(func.coalesce(api_keys.c.last_used_at_ms, 0) < at_ms))


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
        expires_at_ms=row.expires_at_ms,
        last_used_at_ms=row.last_used_at_ms,
    )
