"""Triggers of spaces: create, read, change and delete."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from msgspec.structs import replace

from isolet.clock import Clock
from isolet.database import space_triggers as stored
from isolet.database.connection import Database
from isolet.domain.changes import Change, ProjectChanged
from isolet.domain.projects import Project
from isolet.domain.space_triggers import SpaceTrigger, SpaceTriggerType, check_space_trigger
from isolet.errors import NotFound
from isolet.ids import ProjectId, is_uuid, new_id
from isolet.listeners import Listeners


class SpaceTriggers:
    """`current` gives a project as it is now, None once it is gone."""

    def __init__(
        self,
        *,
        database: Database,
        events: Listeners[Change],
        clock: Clock,
        current: Callable[[ProjectId], Project | None],
    ) -> None:
        self._current = current
        self._database = database
        self._events = events
        self._clock = clock

    async def create(self, project: Project, value: object) -> SpaceTrigger:
        """Raises RequestError, InvalidInput, LimitReached."""
        kind, description, config = check_space_trigger(value)
        trigger = SpaceTrigger(
            id=new_id(),
            project_id=project.id,
            type=kind,
            description=description,
            config=config,
            created_at_ms=self._clock.now_ms(),
        )
        await self._put(project, trigger, new=True)
        return trigger

    async def get(self, project: Project, trigger_id: str) -> SpaceTrigger:
        """Raises NotFound."""
        if not is_uuid(trigger_id):
            raise NotFound("trigger not found")
        return await self._database.read(stored.get_trigger, project.id, trigger_id)

    async def change(self, project: Project, trigger_id: str, value: object) -> SpaceTrigger:
        """All of it is replaced. Raises NotFound, RequestError, InvalidInput."""
        before = await self.get(project, trigger_id)
        kind, description, config = check_space_trigger(value)
        after = replace(before, type=kind, description=description, config=config)
        await self._put(project, after, new=False)
        return after

    async def list(self, project: Project, kind: SpaceTriggerType | None) -> Sequence[SpaceTrigger]:
        return await self._database.read(stored.list_triggers, project.id, kind)

    async def delete(self, project: Project, trigger_id: str) -> None:
        """Raises NotFound."""
        await self._database.write(stored.delete_trigger, project.id, trigger_id, self._clock.now_ms())
        self._tell(project.id)

    async def _put(self, project: Project, trigger: SpaceTrigger, *, new: bool) -> None:
        await self._database.write(partial(stored.put_trigger, trigger=trigger, new=new, now_ms=self._clock.now_ms()))
        self._tell(project.id)

    def _tell(self, project_id: ProjectId) -> None:
        """Who runs schedules looks again. The project may be another one than when it was asked for."""
        if (project := self._current(project_id)) is not None:
            self._events.publish(ProjectChanged(project=project))
