"""Triggers of spaces. What they switch on is written in the same transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from isolet.database.functions import get_function
from isolet.database.projects import lock_project
from isolet.database.schedules import switch_options, sync_options, without_options
from isolet.database.tables.schedules import space_triggers
from isolet.domain.space_triggers import TRIGGERS_MAX, SpaceTrigger, SpaceTriggerType
from isolet.errors import LimitReached, NotFound
from isolet.ids import ProjectId


def put_trigger(connection: Connection, trigger: SpaceTrigger, *, new: bool, now_ms: int) -> None:
    """Raises LimitReached, and NotFound for one to change that is gone."""
    values = {"type": trigger.type.value, "description": trigger.description, "config": dict(trigger.config)}
    if new:
        lock_project(connection, trigger.project_id)
        count = (
            select(func.count()).select_from(space_triggers).where(space_triggers.c.project_id == trigger.project_id)
        )
        if connection.execute(count).scalar_one() >= TRIGGERS_MAX:
            raise LimitReached(f"The space has {TRIGGERS_MAX} triggers, which is the most")
        row = {"id": trigger.id, "project_id": trigger.project_id, "created_at_ms": trigger.created_at_ms, **values}
        connection.execute(insert(space_triggers).values(row))
    else:
        here = space_triggers.c.id == trigger.id
        if connection.execute(update(space_triggers).where(here).values(values)).rowcount == 0:
            raise NotFound("trigger not found")
    _switch(connection, trigger.project_id, now_ms)


def delete_trigger(connection: Connection, project_id: ProjectId, trigger_id: str, now_ms: int) -> None:
    """Raises NotFound."""
    here = (space_triggers.c.id == trigger_id) & (space_triggers.c.project_id == project_id)
    if connection.execute(delete(space_triggers).where(here)).rowcount == 0:
        raise NotFound("trigger not found")
    _switch(connection, project_id, now_ms)


def get_trigger(connection: Connection, project_id: ProjectId, trigger_id: str) -> SpaceTrigger:
    """Raises NotFound."""
    here = (space_triggers.c.id == trigger_id) & (space_triggers.c.project_id == project_id)
    row = connection.execute(select(space_triggers).where(here)).one_or_none()
    if row is None:
        raise NotFound("trigger not found")
    return _trigger(row)


def list_triggers(
    connection: Connection, project_id: ProjectId, kind: SpaceTriggerType | None = None
) -> list[SpaceTrigger]:
    query = select(space_triggers).where(space_triggers.c.project_id == project_id).order_by(space_triggers.c.id)
    if kind is not None:
        query = query.where(space_triggers.c.type == kind.value)
    return [_trigger(row) for row in connection.execute(query)]


def _switch(connection: Connection, project_id: ProjectId, now_ms: int) -> None:
    for function_id in without_options(connection, project_id):
        sync_options(connection, get_function(connection, function_id), now_ms)
    switch_options(connection, project_id, now_ms)


def _trigger(row: Row[Any]) -> SpaceTrigger:
    return SpaceTrigger(
        id=row.id,
        project_id=ProjectId(row.project_id),
        type=SpaceTriggerType(row.type),
        description=row.description,
        config=row.config,
        created_at_ms=row.created_at_ms,
    )
