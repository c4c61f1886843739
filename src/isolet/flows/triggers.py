"""Create, list, replace, switch and delete triggers of workflows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from isolet.clock import Clock
from isolet.database import workflow_triggers as stored
from isolet.database.connection import Database
from isolet.domain.flows.triggers import check_settings, check_type
from isolet.domain.flows.workflows import TRIGGERS_MAX, Trigger, Workflow
from isolet.errors import InvalidInput, NotFound
from isolet.ids import ProjectId, TriggerId, new_id


class WorkflowTriggers:
    """Every change is on disk before a method returns."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(self, workflow: Workflow, values: Mapping[str, Any]) -> Trigger:
        """From what a client sent. Raises InvalidInput, LimitReached, NotFound."""
        trigger = self._read(workflow, values)
        await self._database.write(stored.insert_trigger, trigger)
        return trigger

    async def list(self, workflow: Workflow) -> Sequence[Trigger]:
        """Oldest first."""
        return await self._database.read(stored.list_triggers, workflow.id)

    async def replace(self, workflow: Workflow, wanted: object) -> Sequence[Trigger]:
        """Put these in the place of all that there were, or change nothing. Raises InvalidInput, NotFound."""
        if not isinstance(wanted, list) or len(wanted) > TRIGGERS_MAX:
            raise InvalidInput(f"triggers must be a list of at most {TRIGGERS_MAX}")
        triggers = [self._read(workflow, values) for values in wanted]
        await self._database.write(stored.replace_triggers, workflow.id, triggers)
        return triggers

    async def get(self, project_id: ProjectId | None, trigger_id: str) -> Trigger:
        """Of that project, or of any when None. Raises NotFound."""
        trigger = await self._database.read(stored.get_trigger, TriggerId(trigger_id.lower()))
        if project_id is not None and trigger.project_id != project_id:
            raise NotFound("Trigger not found")
        return trigger

    async def change(self, trigger: Trigger, active: object) -> Trigger:
        """Raises InvalidInput, NotFound."""
        change = partial(stored.change_trigger, active=_active(active), now_ms=self._clock.now_ms())
        return await self._database.write(change, trigger_id=trigger.id)

    async def delete(self, trigger: Trigger) -> None:
        """Raises NotFound."""
        await self._database.write(stored.delete_trigger, trigger.id)

    def _read(self, workflow: Workflow, values: object) -> Trigger:
        if not isinstance(values, Mapping):
            raise InvalidInput("a trigger must be an object")
        nested = values.get("triggerable_attributes")
        if isinstance(nested, Mapping):
            values = {**nested, **values}
        kind = check_type(values.get("trigger_type"))
        now_ms = self._clock.now_ms()
        return Trigger(
            id=TriggerId(new_id()),
            project_id=workflow.project_id,
            workflow_id=workflow.id,
            type=kind,
            active=_active(values.get("active", True)),
            settings=check_settings(kind, values),
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
        )


def _active(value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput("active must be true or false")
    return value
