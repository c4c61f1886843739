"""How a project's end users' tokens are verified, in the database; the shared secret is ciphertext."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, insert, select, update

from isolet.database.tables.identity import token_settings
from isolet.ids import ProjectId


def put_token_settings(
    connection: Connection, project_id: ProjectId, settings: dict[str, Any], sealed_secret: bytes | None, now_ms: int
) -> None:
    values = {"settings": settings, "sealed_secret": sealed_secret, "updated_at_ms": now_ms}
    found = connection.execute(update(token_settings).where(token_settings.c.project_id == project_id).values(values))
    if found.rowcount == 0:
        connection.execute(insert(token_settings).values(project_id=project_id, **values))


def list_token_settings(connection: Connection) -> list[tuple[ProjectId, dict[str, Any], bytes | None]]:
    """Of every project that has some."""
    return [
        (ProjectId(row.project_id), row.settings, None if row.sealed_secret is None else bytes(row.sealed_secret))
        for row in connection.execute(select(token_settings))
    ]
