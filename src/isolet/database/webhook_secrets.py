"""Secrets that sign callbacks, sealed."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import Connection, delete, insert, select

from isolet.database.projects import lock_project
from isolet.database.tables.jobs import webhook_secrets
from isolet.errors import Conflict
from isolet.ids import ProjectId


class WebhookSecret(Struct, frozen=True, kw_only=True):
    id: str
    project_id: ProjectId
    sealed: bytes
    created_at_ms: int


def insert_secret(connection: Connection, secret: WebhookSecret, *, most: int) -> None:
    """Raises Conflict when the project has `most`."""
    lock_project(connection, secret.project_id)
    if len(list_secrets(connection, secret.project_id)) >= most:
        raise Conflict(f"A project may have {most} webhook secrets; delete one first")
    connection.execute(
        insert(webhook_secrets).values(
            id=secret.id,
            project_id=secret.project_id,
            sealed=secret.sealed,
            created_at_ms=secret.created_at_ms,
        )
    )


def list_secrets(connection: Connection, project_id: ProjectId) -> Sequence[WebhookSecret]:
    """Newest first."""
    query = select(webhook_secrets).where(webhook_secrets.c.project_id == project_id)
    rows = connection.execute(query.order_by(webhook_secrets.c.id.desc()))
    return [
        WebhookSecret(id=row.id, project_id=row.project_id, sealed=bytes(row.sealed), created_at_ms=row.created_at_ms)
        for row in rows
    ]


def delete_secret(connection: Connection, project_id: ProjectId, secret_id: str) -> bool:
    """Whether the project had it."""
    found = connection.execute(
        delete(webhook_secrets).where(webhook_secrets.c.id == secret_id, webhook_secrets.c.project_id == project_id)
    )
    return found.rowcount > 0
