"""What the sources and versions of functions take: the row of a function has the sum, and a project has a budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Column, Connection, LargeBinary, Text, cast, delete, func, select, update

from isolet.database.projects import lock_project
from isolet.database.tables.functions import function_sources, functions, versions
from isolet.errors import LimitReached
from isolet.ids import FunctionId, ProjectId

_MIB = 1024 * 1024
# The most that a project may keep, in bytes.
Room = Callable[[ProjectId], int | None]


def no_bound(_: ProjectId) -> int | None:
    return None


def source_bytes(connection: Connection, function_id: FunctionId) -> int:
    return _size(connection, [function_sources.c.code, function_sources.c.files], function_id)


def note_source(connection: Connection, function_id: FunctionId, before_bytes: int = 0) -> None:
    """The source of a function was written; it took `before_bytes` before."""
    _add(connection, function_id, source_bytes(connection, function_id) - before_bytes)


def note_version(connection: Connection, function_id: FunctionId, number: int) -> None:
    """A version was written."""
    columns = [versions.c.code, versions.c.bundle, versions.c.files, versions.c.modules]
    size = _size(connection, columns, function_id, versions.c.number == number)
    here = (versions.c.function_id == function_id) & (versions.c.number == number)
    connection.execute(update(versions).where(here).values(size_bytes=size))
    _add(connection, function_id, size)


def drop_version(connection: Connection, function_id: FunctionId, number: int) -> int:
    """Delete a version; how many bytes it took."""
    here = (versions.c.function_id == function_id) & (versions.c.number == number)
    size = int(connection.scalar(select(versions.c.size_bytes).where(here)) or 0)
    connection.execute(delete(versions).where(here))
    _add(connection, function_id, -size)
    return size


def over_bytes(connection: Connection, project_id: ProjectId, room: Room) -> int:
    """How many bytes a project has too many. Who is told has the project for itself until its transaction ends."""
    most = room(project_id)
    if most is None:
        return 0
    lock_project(connection, project_id)
    total = select(func.sum(functions.c.code_bytes)).where(functions.c.project_id == project_id)
    return max(0, int(connection.scalar(total) or 0) - most)


def check_room(connection: Connection, project_id: ProjectId, room: Room) -> None:
    """Raises LimitReached when the project has too much."""
    if over_bytes(connection, project_id, room):
        most = (room(project_id) or 0) // _MIB
        raise LimitReached(
            f"The code of the project's functions, with their versions, is larger than {most} MiB (code_mb), which is "
            "its limit: delete functions, or ask for more"
        )


def code_bytes(connection: Connection, function_id: FunctionId) -> int:
    return int(connection.scalar(select(functions.c.code_bytes).where(functions.c.id == function_id)) or 0)


def _add(connection: Connection, function_id: FunctionId, added: int) -> None:
    changed = functions.c.code_bytes + added
    connection.execute(update(functions).where(functions.c.id == function_id).values(code_bytes=changed))


def _size(connection: Connection, columns: list[Column[Any]], function_id: FunctionId, *where: Any) -> int:
    """Together, in bytes, as the database holds them."""
    sizes = [func.coalesce(octets(connection, column), 0) for column in columns]
    query = select(*sizes).where(columns[0].table.c.function_id == function_id, *where)
    row = connection.execute(query).one_or_none()
    return 0 if row is None else sum(row)


def octets(connection: Connection, column: Column[Any]) -> Any:
    """What a column of text or JSON takes, in bytes."""
    text = cast(column, Text)
    return func.octet_length(text) if connection.dialect.name == "postgresql" else func.length(cast(text, LargeBinary))
