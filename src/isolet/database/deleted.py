"""Functions that were deleted by name, so that a new deploy of the name carries their records on."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from isolet.database.tables.functions import deleted_functions
from isolet.ids import FunctionId, ProjectId


def remember_deleted(
    connection: Connection, project_id: ProjectId, name: str, function_id: FunctionId, now_ms: int
) -> None:
    forget_deleted(connection, project_id, name)
    connection.execute(
        insert(deleted_functions).values(
            project_id=project_id, name=name, function_id=function_id, deleted_at_ms=now_ms
        )
    )


def get_deleted(connection: Connection, project_id: ProjectId, name: str) -> FunctionId | None:
    found = connection.execute(
        select(deleted_functions.c.function_id).where(
            deleted_functions.c.project_id == project_id, deleted_functions.c.name == name
        )
    ).scalar_one_or_none()
    return None if found is None else FunctionId(found)


def forget_deleted(connection: Connection, project_id: ProjectId, name: str) -> None:
    connection.execute(
        delete(deleted_functions).where(deleted_functions.c.project_id == project_id, deleted_functions.c.name == name)
    )
