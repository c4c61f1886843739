"""Triggers of workflows in the database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from isolet.database.tables.workflows import workflow_triggers as triggers
from isolet.database.tables.workflows import workflows
from isolet.domain.flows.workflows import TRIGGERS_MAX, Trigger, TriggerType
from isolet.errors import InvalidInput, LimitReached, NotFound
from isolet.ids import ProjectId, TriggerId, WorkflowId

_MISSING = "Trigger not found"
# Each message, and each event of a number, goes to one workflow of a project.
_ALONE = frozenset({TriggerType.INBOUND_MESSAGE, TriggerType.WHATSAPP_EVENT})


def insert_trigger(connection: Connection, trigger: Trigger) -> None:
    """Raises InvalidInput when another one would start on the same, LimitReached, NotFound without its workflow."""
    _lock(connection, trigger.workflow_id)
    query = select(func.count()).select_from(triggers).where(triggers.c.workflow_id == trigger.workflow_id)
    if connection.execute(query).scalar_one() >= TRIGGERS_MAX:
        raise LimitReached(f"The workflow has {TRIGGERS_MAX} triggers, which is the most")
    _check_alone(connection, trigger)
    connection.execute(insert(triggers).values(_values(trigger)))


def replace_triggers(connection: Connection, workflow_id: WorkflowId, wanted: Sequence[Trigger]) -> None:
    """All of them, or none when this raises. Raises what `insert_trigger` does."""
    _lock(connection, workflow_id)
    connection.execute(delete(triggers).where(triggers.c.workflow_id == workflow_id))
    for trigger in wanted:
        insert_trigger(connection, trigger)


def change_trigger(connection: Connection, trigger_id: TriggerId, *, active: bool, now_ms: int) -> Trigger:
    """Raises NotFound, InvalidInput when another one starts on the same."""
    before = get_trigger(connection, trigger_id)
    _lock(connection, before.workflow_id)
    values = {"active": active, "updated_at_ms": now_ms}
    if connection.execute(update(triggers).where(triggers.c.id == trigger_id).values(values)).rowcount == 0:
        raise NotFound(_MISSING)
    after = get_trigger(connection, trigger_id)
    _check_alone(connection, after)
    return after


def delete_trigger(connection: Connection, trigger_id: TriggerId) -> None:
    """Raises NotFound."""
    if connection.execute(delete(triggers).where(triggers.c.id == trigger_id)).rowcount == 0:
        raise NotFound(_MISSING)


def get_trigger(connection: Connection, trigger_id: TriggerId) -> Trigger:
    """Raises NotFound."""
    row = connection.execute(select(triggers).where(triggers.c.id == trigger_id)).one_or_none()
    if row is None:
        raise NotFound(_MISSING)
    return _trigger(row)


def list_triggers(connection: Connection, workflow_id: WorkflowId) -> list[Trigger]:
    """Oldest first."""
    query = select(triggers).where(triggers.c.workflow_id == workflow_id).order_by(triggers.c.id)
    return [_trigger(row) for row in connection.execute(query)]


def triggers_for_event(connection: Connection, project_id: ProjectId, event_name: str) -> list[Trigger]:
    """The active ones of active workflows that name a project event, oldest first, whether they are met or not."""
    query = (
        select(triggers)
        .join_from(triggers, workflows, triggers.c.workflow_id == workflows.c.id)
        .where(
            triggers.c.project_id == project_id,
            triggers.c.event_name == event_name,
            triggers.c.active,
            workflows.c.status == "active",
        )
        .order_by(triggers.c.id)
    )
    return [_trigger(row) for row in connection.execute(query)]


def _lock(connection: Connection, workflow_id: WorkflowId) -> None:
    """Who writes triggers of one workflow takes turns. Raises NotFound."""
    query = select(workflows.c.id).where(workflows.c.id == workflow_id).with_for_update()
    if connection.execute(query).one_or_none() is None:
        raise NotFound("Workflow not found")


def _check_alone(connection: Connection, trigger: Trigger) -> None:
    if not trigger.active or trigger.type not in _ALONE:
        return
    query = select(triggers.c.id).where(
        triggers.c.project_id == trigger.project_id,
        triggers.c.id != trigger.id,
        triggers.c.active,
        triggers.c.type == trigger.type.value,
        triggers.c.settings == _settings_text(trigger),
    )
    if connection.execute(query.limit(1)).one_or_none() is not None:
        raise InvalidInput("another active trigger starts on the same already")


def _settings_text(trigger: Trigger) -> str:
    return json.dumps(trigger.settings, sort_keys=True, separators=(",", ":"))


def _values(trigger: Trigger) -> dict[str, Any]:
    return {
        "id": trigger.id,
        "project_id": trigger.project_id,
        "workflow_id": trigger.workflow_id,
        "type": trigger.type.value,
        "active": trigger.active,
        "event_name": trigger.settings.get("event_name"),
        "settings": _settings_text(trigger),
        "created_at_ms": trigger.created_at_ms,
        "updated_at_ms": trigger.updated_at_ms,
    }


def _trigger(row: Row[Any]) -> Trigger:
    return Trigger(
        id=TriggerId(row.id),
        project_id=ProjectId(row.project_id),
        workflow_id=WorkflowId(row.workflow_id),
        type=TriggerType(row.type),
        active=row.active,
        settings=json.loads(row.settings),
        created_at_ms=row.created_at_ms,
        updated_at_ms=row.updated_at_ms,
    )
