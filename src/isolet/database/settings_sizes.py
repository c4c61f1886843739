"""What the settings, variables and secrets of functions take, and payloads of schedules.

Rows have the sums, a project has a budget.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Connection, LargeBinary, func, select, update

from isolet.database.code_sizes import Room, octets
from isolet.database.projects import lock_project
from isolet.database.tables.functions import functions
from isolet.database.tables.schedules import schedules
from isolet.database.tables.secrets import function_environments, secrets
from isolet.errors import LimitReached
from isolet.ids import FunctionId, ProjectId, ScheduleId

_MIB = 1024 * 1024
# What else a row holds is small, or no client's to choose.
_CHOSEN = (
    *("name", "description", "runtime_config", "triggers", "agent", "retry", "altair", "hosts", "bindings"),
    *("compatibility", "sealed_triggers", "sealed_env"),
)


def settings_bytes(connection: Connection, function_id: FunctionId) -> int:
    """As was noted last."""
    return connection.scalar(select(functions.c.settings_bytes).where(functions.c.id == function_id)) or 0


def note_settings(connection: Connection, function_id: FunctionId, room: Room) -> None:
    """The settings, variables or secrets of a function were written.

    Raises LimitReached when they became more, and are more than the project may have.
    """
    own = functions.c.id == function_id
    query = select(functions.c.project_id, functions.c.settings_bytes).where(own)
    project_id, before = connection.execute(query).one()
    size = _size(connection, function_id)
    if size != before:
        connection.execute(update(functions).where(own).values(settings_bytes=size))
    if size > before:
        _check_room(connection, project_id, room)


def note_payload(connection: Connection, schedule_id: ScheduleId, room: Room) -> None:
    """The payload of a schedule was written. Raises LimitReached as `note_settings` does."""
    own, size = schedules.c.id == schedule_id, func.coalesce(octets(connection, schedules.c.payload), 0)
    query = select(schedules.c.project_id, schedules.c.payload_bytes, size).where(own)
    project_id, before, after = connection.execute(query).one()
    if after != before:
        connection.execute(update(schedules).where(own).values(payload_bytes=after))
    if after > before:
        _check_room(connection, project_id, room)


def _check_room(connection: Connection, project_id: ProjectId, room: Room) -> None:
    most = room(project_id)
    if most is None:
        return
    lock_project(connection, project_id)
    of_functions = select(func.sum(functions.c.settings_bytes)).where(functions.c.project_id == project_id)
    of_schedules = select(func.sum(schedules.c.payload_bytes)).where(schedules.c.project_id == project_id)
    if sum(int(connection.scalar(total) or 0) for total in (of_functions, of_schedules)) > most:
        raise LimitReached(
            "The settings, variables and secrets of the project's functions, and payloads of schedules, are larger "
            f"than {most // _MIB} MiB (settings_mb), which is its limit: delete some, or ask for more"
        )


def _size(connection: Connection, function_id: FunctionId) -> int:
    """In bytes, as the database holds them."""
    own = sum((_bytes(connection, functions.c[name]) for name in _CHOSEN), start=0)
    found = connection.scalar(select(own).where(functions.c.id == function_id))
    sealed = func.coalesce(func.sum(func.length(secrets.c.sealed) + func.length(secrets.c.name)), 0)
    secret = connection.scalar(select(sealed).where(secrets.c.function_id == function_id))
    variables = func.length(function_environments.c.sealed)
    more = connection.scalar(select(variables).where(function_environments.c.function_id == function_id))
    return (found or 0) + int(secret or 0) + (more or 0)


def _bytes(connection: Connection, column: Column[Any]) -> Any:
    if isinstance(column.type, LargeBinary):
        return func.coalesce(func.length(column), 0)
    return func.coalesce(octets(connection, column), 0)
