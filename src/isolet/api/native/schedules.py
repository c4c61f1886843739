"""The native API of schedules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import Response

from isolet.access.rules import Access, OfKey, PathFunction, PathOwned
from isolet.api.native import shapes
from isolet.api.native.parameters import Limit, function_id, id_cursor
from isolet.api.reply import page_reply
from isolet.api.rows import GrantedFunction, GrantedProject, route
from isolet.clock import iso
from isolet.database.owners import Owned
from isolet.domain.access import Role
from isolet.domain.cron import read_cron
from isolet.domain.schedules import Firing, Schedule, in_ms
from isolet.errors import InvalidInput
from isolet.routing.routes import Routes
from isolet.schedules.service import Schedules

_PREVIEW_MAX = 100
_SCHEDULE = PathOwned(Owned.SCHEDULE, parameter="schedule_id", missing="Schedule not found")
_READ = Access(Role.INVOKE, _SCHEDULE)
_CHANGE = Access(Role.DEPLOY, _SCHEDULE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulesDoor:
    routes: Routes
    schedules: Schedules

    @route(
        "POST",
        "/functions/{function_id}/schedules",
        Access(Role.DEPLOY, PathFunction()),
        status_code=201,
        tags=["schedules"],
    )
    async def create_schedule(self, function: GrantedFunction, body: shapes.Members) -> dict[str, Any]:
        """Run a function by the clock: `{cron, name?, dialect?, timezone?, payload?, …policies}`."""
        return schedule_object(await self.schedules.create(function, body.root))

    @route("GET", "/functions/{function_id}/schedules", Access(Role.INVOKE, PathFunction()), tags=["schedules"])
    async def list_schedules_of_function(
        self, function: GrantedFunction, limit: Limit = 50, cursor: str | None = None
    ) -> Response:
        after = None if cursor is None else id_cursor(cursor)
        return await _page(await self.schedules.list(None, function.id, after=after, limit=limit + 1), limit)

    @route("GET", "/schedules", Access(Role.INVOKE, OfKey(slug="project", function="function")), tags=["schedules"])
    async def list_schedules(
        self, project: GrantedProject, function: str | None = None, limit: Limit = 50, cursor: str | None = None
    ) -> Response:
        after = None if cursor is None else id_cursor(cursor)
        wanted = None if function is None else function_id(self.routes, project.id, function)
        return await _page(await self.schedules.list(project.id, wanted, after=after, limit=limit + 1), limit)

    @route("POST", "/schedules/preview", Access(Role.INVOKE, OfKey()), tags=["schedules"])
    async def preview_schedule(self, body: shapes.SchedulePreview) -> dict[str, Any]:
        """The next due times of an expression, and what it says."""
        if not 1 <= body.count <= _PREVIEW_MAX:
            raise InvalidInput(f"count: must be from 1 to {_PREVIEW_MAX}")
        cron = read_cron(body.cron, zone=body.timezone, dialect=body.dialect)
        times = [iso(in_ms(due)) for due in self.schedules.preview(cron, body.count)]
        return {"times": times, "text": cron.explained()}

    @route("GET", "/schedules/{schedule_id}", _READ, tags=["schedules"])
    async def get_schedule(self, schedule_id: str) -> dict[str, Any]:
        return schedule_object(await self.schedules.get(schedule_id))

    @route("PATCH", "/schedules/{schedule_id}", _CHANGE, tags=["schedules"])
    async def change_schedule(self, schedule_id: str, body: shapes.Members) -> dict[str, Any]:
        """Only what is sent changes; a change of the times counts from now."""
        return schedule_object(await self.schedules.change(await self.schedules.get(schedule_id), body.root))

    @route("DELETE", "/schedules/{schedule_id}", _CHANGE, status_code=204, tags=["schedules"])
    async def delete_schedule(self, schedule_id: str) -> Response:
        await self.schedules.delete(await self.schedules.get(schedule_id))
        return Response(status_code=204)

    @route("POST", "/schedules/{schedule_id}/run", _CHANGE, status_code=202, tags=["schedules"])
    async def run_schedule(self, schedule_id: str) -> dict[str, Any]:
        """One firing now, outside the count; `invocation_id` is null when the policy of overlaps skipped it."""
        return {"invocation_id": await self.schedules.run_now(await self.schedules.get(schedule_id))}

    @route("POST", "/schedules/{schedule_id}/pause", _CHANGE, tags=["schedules"])
    async def pause_schedule(self, schedule_id: str, body: shapes.SchedulePause | None = None) -> dict[str, Any]:
        schedule = await self.schedules.get(schedule_id)
        return schedule_object(await self.schedules.pause(schedule, None if body is None else body.reason))

    @route("POST", "/schedules/{schedule_id}/resume", _CHANGE, tags=["schedules"])
    async def resume_schedule(self, schedule_id: str) -> dict[str, Any]:
        return schedule_object(await self.schedules.resume(await self.schedules.get(schedule_id)))

    @route("POST", "/schedules/{schedule_id}/backfill", _CHANGE, status_code=202, tags=["schedules"])
    async def backfill_schedule(self, schedule_id: str, body: shapes.ScheduleBackfill) -> dict[str, Any]:
        """Run every due time from one moment to another, both included, one after the other."""
        schedule = await self.schedules.get(schedule_id)
        return {"count": await self.schedules.backfill(schedule, body.from_, body.to)}

    @route("GET", "/schedules/{schedule_id}/firings", _READ, tags=["schedules"])
    async def list_firings(self, schedule_id: str, limit: Limit = 50, cursor: str | None = None) -> Response:
        """Newest first."""
        before = None if cursor is None else id_cursor(cursor)
        schedule = await self.schedules.get(schedule_id)
        found = await self.schedules.firings(schedule, before=before, limit=limit + 1)
        following = found[limit - 1].id if len(found) > limit else None
        return await page_reply(firing_object, found[:limit], following)


async def _page(found: Any, limit: int) -> Response:
    following = found[limit - 1].id if len(found) > limit else None
    return await page_reply(schedule_object, found[:limit], following)


def schedule_object(schedule: Schedule) -> dict[str, Any]:
    next_ms = schedule.next_fire_ms
    return {
        "id": schedule.id,
        "project_id": schedule.project_id,
        "function_id": schedule.function_id,
        "flow_id": None,
        "name": schedule.name,
        "cron": schedule.cron.text,
        "dialect": schedule.cron.dialect.value,
        "timezone": schedule.cron.zone,
        "payload": schedule.payload,
        **schedule.policies.to_json(),
        "enabled": schedule.enabled,
        "paused_reason": schedule.paused_reason,
        "next_at": None if next_ms is None else iso(next_ms),
        "last_due_at": None if schedule.last_due_ms is None else iso(schedule.last_due_ms),
        "last_status": None if schedule.last_status is None else schedule.last_status.value,
        "missed_total": schedule.missed_total,
        "created_at": iso(schedule.created_at_ms),
        "updated_at": iso(schedule.updated_at_ms),
    }


def firing_object(firing: Firing) -> dict[str, Any]:
    return {
        "due_at": iso(firing.due_ms),
        "fired_at": iso(firing.fired_at_ms),
        "status": firing.status.value,
        "attempt": firing.attempt,
        "invocation_id": firing.invocation_id,
    }
