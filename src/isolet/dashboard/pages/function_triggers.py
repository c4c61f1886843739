"""What calls a function: its address, and the schedules that it runs by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from isolet.client.errors import Refused
from isolet.contract.schedules import ScheduleMembers, SchedulePause, SchedulePreview
from isolet.dashboard.function_pages import function_of, render
from isolet.dashboard.sections import Section
from isolet.dashboard.typed_json import read_json
from isolet.dashboard.visits import Visit
from isolet.errors import NotFound

section = Section(
    "", "functions/{function_id}/triggers", api="GET /isolet/v1/functions/{function_id}/schedules", under="Functions"
)
_DEFAULTS = {"name": "", "cron": "0 * * * *", "timezone": "UTC", "payload": ""}


@section.get("")
async def show(visit: Visit) -> Response:
    return await _show(visit)


async def _show(
    visit: Visit,
    *,
    status: int = 200,
    error: str | None = None,
    form: Mapping[str, str] | None = None,
    preview: Any = None,
) -> Response:
    function = await function_of(visit)
    found = await visit.api.schedules.list_of_function(function.id, cursor=visit.query.get("cursor"))
    return await render(
        visit,
        "Triggers",
        "function_triggers.html",
        function,
        status=status,
        error=error,
        schedules=found.data,
        next_cursor=found.next_cursor,
        form={**_DEFAULTS, **(form or {})},
        preview=preview,
    )


@section.post("/new")
async def create(visit: Visit, form: Mapping[str, str]) -> Response:
    function = await function_of(visit)
    try:
        if form.get("act") == "preview":
            asked = SchedulePreview(cron=form.get("cron", ""), timezone=form.get("timezone") or None)
            return await _show(visit, form=form, preview=await visit.api.schedules.preview(asked))
        await visit.api.schedules.create(function.id, ScheduleMembers(await _members(form)))
    except Refused as exc:
        return await _show(visit, status=exc.status, error=exc.text, form=form)
    except (ValueError, RecursionError):
        return await _show(visit, status=400, error="The payload must be JSON", form=form)
    return visit.go("functions", function.id, "triggers", done="saved")


async def _members(form: Mapping[str, str]) -> dict[str, Any]:
    """Raises ValueError for a payload that is no JSON."""
    members: dict[str, Any] = {name: form[name].strip() for name in ("name", "cron", "timezone") if form.get(name)}
    if form.get("payload", "").strip():
        members["payload"] = await read_json(form["payload"])
    return members


@section.get("/{schedule_id}", api="GET /isolet/v1/schedules/{schedule_id}/firings")
async def firings(visit: Visit) -> Response:
    function = await function_of(visit)
    schedule = await _own(visit, function.id)
    found = await visit.api.schedules.list_firings(schedule.id, cursor=visit.query.get("cursor"))
    return await render(
        visit,
        "Triggers",
        "function_schedule.html",
        function,
        schedule=schedule,
        firings=found.data,
        next_cursor=found.next_cursor,
    )


@section.post("/{schedule_id}/{act}")
async def act(visit: Visit, form: Mapping[str, str]) -> Response:
    function = await function_of(visit)
    schedule = await _own(visit, function.id)
    schedules = visit.api.schedules
    match visit.request.path_params["act"]:
        case "run":
            await schedules.run(schedule.id)
            done = "run"
        case "pause":
            await schedules.pause(schedule.id, SchedulePause(reason=form.get("reason") or None))
            done = "paused"
        case "resume":
            await schedules.resume(schedule.id)
            done = "resumed"
        case "delete":
            await schedules.delete(schedule.id)
            done = "deleted"
        case _:
            raise NotFound("There is no such page")
    return visit.go("functions", function.id, "triggers", done=done)


async def _own(visit: Visit, function_id: str) -> Any:
    """Raises NotFound for a schedule of another function."""
    schedule = await visit.api.schedules.get(visit.request.path_params["schedule_id"])
    if schedule.function_id != function_id:
        raise NotFound("Schedule not found")
    return schedule
