"""Functions that were deleted by name, so that a new deploy of the name carries their records on."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from isolet.database.tables.functions import deleted_functions
from isolet.ids import FunctionId, ProjectId

# The latest of a project; a name that was deleted before so many others begins anew.
NAMES_MAX = 1_000
_DROPPED_AT_ONCE = 500


def remember_deleted(
    connection: Connection, project_id: ProjectId, name: str, function_id: FunctionId, now_ms: int
) -> None:
    forget_deleted(connection, project_id, name)
    connection.execute(
        insert(deleted_functions).values(
            project_id=project_id, name=name, function_id=function_id, deleted_at_ms=now_ms
        )
    )
    own = select(deleted_functions.c.name).where(deleted_functions.c.project_id == project_id)
    latest = own.order_by(deleted_functions.c.deleted_at_ms.desc(), deleted_functions.c.function_id.desc())
    if beyond := connection.scalars(latest.offset(NAMES_MAX)).all():
        connection.execute(
            delete(deleted_functions).where(
                deleted_functions.c.project_id == project_id, deleted_functions.c.name.in_(beyond[:_DROPPED_AT_ONCE])
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
