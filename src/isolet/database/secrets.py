"""Secrets and data keys in the database: ciphertext only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, text, update

from isolet.database.tables.secrets import data_keys, master_key, secrets
from isolet.domain.secrets import SecretType, StoredSecret
from isolet.errors import Conflict, SecretsFailed
from isolet.ids import FunctionId, ProjectId


def put_secret(connection: Connection, secret: StoredSecret) -> None:
    """In the place of the one of that name, if there is one."""
    values = {"type": secret.type.value, "sealed": secret.sealed}
    here = (secrets.c.function_id == secret.function_id) & (secrets.c.name == secret.name)
    if connection.execute(update(secrets).where(here).values(values)).rowcount == 0:
        named = {"function_id": secret.function_id, "name": secret.name, "created_at_ms": secret.created_at_ms}
        connection.execute(insert(secrets).values({**named, **values}))


def delete_secret(connection: Connection, function_id: FunctionId, name: str) -> bool:
    """Whether there was one of that name."""
    found = connection.execute(delete(secrets).where(secrets.c.function_id == function_id, secrets.c.name == name))
    return found.rowcount > 0


def list_secrets(connection: Connection, function_id: FunctionId) -> list[StoredSecret]:
    """By name."""
    rows = connection.execute(select(secrets).where(secrets.c.function_id == function_id).order_by(secrets.c.name))
    return [_secret(row) for row in rows]


def take_master_key(connection: Connection, key_id: str) -> None:
    """Let a master key be the store's while nothing is sealed with another. Raises SecretsFailed."""
    current = _lock_master_key(connection)
    sealed = connection.execute(select(func.count()).select_from(data_keys)).scalar_one()
    if current != key_id and sealed:
        raise _stale()
    _set_master_key(connection, current, key_id)


def insert_data_key(connection: Connection, project_id: ProjectId, key_id: str, wrapped: bytes) -> None:
    """Raises SecretsFailed for a master key that is not the store's any more."""
    current = _lock_master_key(connection)
    if current not in (None, key_id):
        raise _stale()
    _set_master_key(connection, current, key_id)
    connection.execute(insert(data_keys).values(project_id=project_id, master_key_id=key_id, wrapped=wrapped))


def list_data_keys(connection: Connection) -> dict[ProjectId, tuple[str, bytes]]:
    """The id of the master key that wrapped it, and the wrapped key, of each project."""
    return {row.project_id: (row.master_key_id, bytes(row.wrapped)) for row in connection.execute(select(data_keys))}


def replace_data_keys(connection: Connection, before_id: str, key_id: str, wrapped: Mapping[ProjectId, bytes]) -> None:
    """All of them in one transaction, from one master key to another.

    Raises SecretsFailed when the first is not the store's any more, Conflict when there are more data keys than these.
    """
    current = _lock_master_key(connection)
    if current not in (None, before_id):
        raise _stale()
    if set(connection.execute(select(data_keys.c.project_id)).scalars()) - wrapped.keys():
        raise Conflict("another server made a data key meanwhile; rotate the master key again")
    _set_master_key(connection, current, key_id)
    for project_id, key in wrapped.items():
        connection.execute(
            update(data_keys).where(data_keys.c.project_id == project_id).values(master_key_id=key_id, wrapped=key)
        )


def _lock_master_key(connection: Connection) -> str | None:
    """The id of the store's master key, which nobody else changes until this transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE master_key IN EXCLUSIVE MODE"))
    return connection.execute(select(master_key.c.key_id)).scalar()


def _set_master_key(connection: Connection, current: str | None, key_id: str) -> None:
    if current is None:
        connection.execute(insert(master_key).values(id=1, key_id=key_id))
    elif current != key_id:
        connection.execute(update(master_key).values(key_id=key_id))


def _stale() -> SecretsFailed:
    return SecretsFailed(
        "this server's master key is not the store's any more: it was rotated on another server. The operator has to "
        "give this one the new key and start it again"
    )


def _secret(row: Row[Any]) -> StoredSecret:
    return StoredSecret(
        function_id=row.function_id,
        name=row.name,
        type=SecretType(row.type),
        sealed=bytes(row.sealed),
        created_at_ms=row.created_at_ms,
    )
