"""Where the messages of projects' workflows go, in the database."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from isolet.database.tables.workflows import project_channels
from isolet.ids import ProjectId


def get_channel(connection: Connection, project_id: ProjectId) -> str | None:
    """The URL; None when no channel is set."""
    return connection.execute(
        select(project_channels.c.url).where(project_channels.c.project_id == project_id)
    ).scalar()


def put_channel(connection: Connection, project_id: ProjectId, url: str | None) -> None:
    """None removes it."""
    connection.execute(delete(project_channels).where(project_channels.c.project_id == project_id))
    if url is not None:
        connection.execute(insert(project_channels).values(project_id=project_id, url=url))
