"""Secrets and data keys in the database: ciphertext only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from isolet.domain.secrets import SecretType, StoredSecret
from isolet.errors import InvalidInput
from isolet.ids import FunctionId, ProjectId
from isolet.store.schema import data_keys, secrets


def insert_secret(connection: Connection, secret: StoredSecret) -> None:
    """Raises InvalidInput when the function has one of that name."""
    try:
        connection.execute(
            insert(secrets).values(
                function_id=secret.function_id,
                name=secret.name,
                type=secret.type.value,
                sealed=secret.sealed,
                created_at_ms=secret.created_at_ms,
            )
        )
    except IntegrityError as exc:
        raise InvalidInput("Secret name has already been taken") from exc


def delete_secret(connection: Connection, function_id: FunctionId, name: str) -> bool:
    """Whether there was one of that name."""
    found = connection.execute(delete(secrets).where(secrets.c.function_id == function_id, secrets.c.name == name))
    return found.rowcount > 0


def list_secrets(connection: Connection, function_id: FunctionId) -> list[StoredSecret]:
    """By name."""
    rows = connection.execute(select(secrets).where(secrets.c.function_id == function_id).order_by(secrets.c.name))
    return [_secret(row) for row in rows]


def insert_data_key(connection: Connection, project_id: ProjectId, key_id: str, wrapped: bytes) -> None:
    connection.execute(insert(data_keys).values(project_id=project_id, master_key_id=key_id, wrapped=wrapped))


def list_data_keys(connection: Connection) -> dict[ProjectId, tuple[str, bytes]]:
    """The id of the master key that wrapped it, and the wrapped key, of each project."""
    return {row.project_id: (row.master_key_id, bytes(row.wrapped)) for row in connection.execute(select(data_keys))}


def replace_data_keys(connection: Connection, key_id: str, wrapped: Mapping[ProjectId, bytes]) -> None:
    """All of them in one transaction, under another master key."""
    for project_id, key in wrapped.items():
        connection.execute(
            update(data_keys).where(data_keys.c.project_id == project_id).values(master_key_id=key_id, wrapped=key)
        )


def _secret(row: Row[Any]) -> StoredSecret:
    return StoredSecret(
        function_id=row.function_id,
        name=row.name,
        type=SecretType(row.type),
        sealed=bytes(row.sealed),
        created_at_ms=row.created_at_ms,
    )
