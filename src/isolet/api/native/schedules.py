"""The native API of schedules."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import Response
from msgspec import Struct

from isolet.access.rules import Access, OfKey, PathFunction, PathOwned
from isolet.api.native.parameters import Limit, function_id, id_cursor
from isolet.api.native.serving import page, serve
from isolet.api.rows import GrantedFunction, GrantedProject
from isolet.clock import iso
from isolet.contract.schedules import (
    BackfillReply,
    FiringReply,
    PreviewReply,
    RunReply,
    ScheduleBackfill,
    ScheduleMembers,
    SchedulePause,
    SchedulePreview,
    ScheduleReply,
    Schedules,
)
from isolet.database.owners import Owned
from isolet.domain.access import Role
from isolet.domain.cron import read_cron
from isolet.domain.schedules import Firing, Schedule, in_ms
from isolet.errors import InvalidInput
from isolet.ids import WorkflowId
from isolet.routing.routes import Routes
from isolet.schedules.service import Schedules as ScheduleService

_PREVIEW_MAX = 100
_SCHEDULE = PathOwned(Owned.SCHEDULE, parameter="schedule_id", missing="Schedule not found")
_WORKFLOW = PathOwned(Owned.WORKFLOW, parameter="workflow_id", missing="Workflow not found")
_READ = Access(Role.INVOKE, _SCHEDULE)
_CHANGE = Access(Role.DEPLOY, _SCHEDULE)


class SchedulesDoor(Struct, frozen=True, kw_only=True):
    routes: Routes
    schedules: ScheduleService

    @serve(Schedules.create, Access(Role.DEPLOY, PathFunction()))
    async def create_schedule(self, function: GrantedFunction, body: ScheduleMembers) -> ScheduleReply:
        """Run a function by the clock: `{cron, name?, dialect?, timezone?, payload?, …policies}`."""
        return _schedule_reply(await self.schedules.create(function, body.root))

    @serve(Schedules.list_of_function, Access(Role.INVOKE, PathFunction()))
    async def list_schedules_of_function(
        self, function: GrantedFunction, limit: Limit = 50, cursor: str | None = None
    ) -> Response:
        after = None if cursor is None else id_cursor(cursor)
        return await _page(await self.schedules.list(None, function.id, after=after, limit=limit + 1), limit)

    @serve(Schedules.create_of_flow, Access(Role.DEPLOY, _WORKFLOW))
    async def create_schedule_of_flow(
        self, project: GrantedProject, workflow_id: str, body: ScheduleMembers
    ) -> ScheduleReply:
        """Run a workflow by the clock; `payload` becomes the variables of its runs."""
        made = await self.schedules.create_of_workflow(project.id, WorkflowId(workflow_id), body.root)
        return _schedule_reply(made)

    @serve(Schedules.list_of_flow, Access(Role.INVOKE, _WORKFLOW))
    async def list_schedules_of_flow(
        self, project: GrantedProject, workflow_id: str, limit: Limit = 50, cursor: str | None = None
    ) -> Response:
        after = None if cursor is None else id_cursor(cursor)
        wanted = WorkflowId(workflow_id)
        found = await self.schedules.list(project.id, None, workflow_id=wanted, after=after, limit=limit + 1)
        return await _page(found, limit)

    @serve(Schedules.list, Access(Role.INVOKE, OfKey(slug="project", function="function")))
    async def list_schedules(
        self, project: GrantedProject, function: str | None = None, limit: Limit = 50, cursor: str | None = None
    ) -> Response:
        after = None if cursor is None else id_cursor(cursor)
        wanted = None if function is None else function_id(self.routes, project.id, function)
        return await _page(await self.schedules.list(project.id, wanted, after=after, limit=limit + 1), limit)

    @serve(Schedules.preview, Access(Role.INVOKE, OfKey()))
    async def preview_schedule(self, body: SchedulePreview) -> PreviewReply:
        """The next due times of an expression, and what it says."""
        if not 1 <= body.count <= _PREVIEW_MAX:
            raise InvalidInput(f"count: must be from 1 to {_PREVIEW_MAX}")
        cron = read_cron(body.cron, zone=body.timezone, dialect=body.dialect)
        times = [iso(in_ms(due)) for due in await self.schedules.preview(cron, body.count)]
        return PreviewReply(times=times, text=cron.explained())

    @serve(Schedules.get, _READ)
    async def get_schedule(self, schedule_id: str) -> ScheduleReply:
        return _schedule_reply(await self.schedules.get(schedule_id))

    @serve(Schedules.update, _CHANGE)
    async def change_schedule(self, schedule_id: str, body: ScheduleMembers) -> ScheduleReply:
        """Only what is sent changes; a change of the times counts from now."""
        return _schedule_reply(await self.schedules.change(await self.schedules.get(schedule_id), body.root))

    @serve(Schedules.delete, _CHANGE)
    async def delete_schedule(self, schedule_id: str) -> None:
        await self.schedules.delete(await self.schedules.get(schedule_id))

    @serve(Schedules.run, _CHANGE)
    async def run_schedule(self, schedule_id: str) -> RunReply:
        """One firing now, outside the count; `invocation_id` is null when the policy of overlaps skipped it."""
        schedule = await self.schedules.get(schedule_id)
        ran = await self.schedules.run_now(schedule)
        return RunReply(invocation_id=ran) if schedule.workflow_id is None else RunReply(execution_id=ran)

    @serve(Schedules.pause, _CHANGE)
    async def pause_schedule(self, schedule_id: str, body: SchedulePause | None = None) -> ScheduleReply:
        schedule = await self.schedules.get(schedule_id)
        return _schedule_reply(await self.schedules.pause(schedule, None if body is None else body.reason))

    @serve(Schedules.resume, _CHANGE)
    async def resume_schedule(self, schedule_id: str) -> ScheduleReply:
        return _schedule_reply(await self.schedules.resume(await self.schedules.get(schedule_id)))

    @serve(Schedules.backfill, _CHANGE)
    async def backfill_schedule(self, schedule_id: str, body: ScheduleBackfill) -> BackfillReply:
        """Run every due time from one moment to another, both included, one after the other."""
        schedule = await self.schedules.get(schedule_id)
        return BackfillReply(count=await self.schedules.backfill(schedule, body.from_, body.to))

    @serve(Schedules.list_firings, _READ)
    async def list_firings(self, schedule_id: str, limit: Limit = 50, cursor: str | None = None) -> Response:
        """Newest first."""
        before = None if cursor is None else id_cursor(cursor)
        schedule = await self.schedules.get(schedule_id)
        found = await self.schedules.firings(schedule, before=before, limit=limit + 1)
        following = found[limit - 1].id if len(found) > limit else None
        return await page(partial(_firing_reply, schedule), found[:limit], following)


async def _page(found: Any, limit: int) -> Response:
    following = found[limit - 1].id if len(found) > limit else None
    return await page(_schedule_reply, found[:limit], following)


def _schedule_reply(schedule: Schedule) -> ScheduleReply:
    next_ms = schedule.next_fire_ms
    return ScheduleReply(
        id=schedule.id,
        project_id=schedule.project_id,
        function_id=schedule.function_id,
        flow_id=schedule.workflow_id,
        name=schedule.name,
        cron=schedule.cron.text,
        dialect=schedule.cron.dialect.value,
        timezone=schedule.cron.zone,
        payload=schedule.payload,
        **schedule.policies.to_json(),
        enabled=schedule.enabled,
        paused_reason=schedule.paused_reason,
        next_at=None if next_ms is None else iso(next_ms),
        last_due_at=None if schedule.last_due_ms is None else iso(schedule.last_due_ms),
        last_status=None if schedule.last_status is None else schedule.last_status.value,
        missed_total=schedule.missed_total,
        created_at=iso(schedule.created_at_ms),
        updated_at=iso(schedule.updated_at_ms),
    )


def _firing_reply(schedule: Schedule, firing: Firing) -> FiringReply:
    return FiringReply(
        due_at=iso(firing.due_ms),
        fired_at=iso(firing.fired_at_ms),
        status=firing.status.value,
        attempt=firing.attempt,
        invocation_id=firing.run_id if schedule.workflow_id is None else None,
        execution_id=firing.run_id if schedule.workflow_id is not None else None,
    )
