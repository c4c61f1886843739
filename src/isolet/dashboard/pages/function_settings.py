"""The settings of a function: who may call it, its limits, and how agents see it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from isolet.client.errors import Refused
from isolet.contract.functions import FunctionReply, FunctionUpdate
from isolet.dashboard.function_pages import function_of, render
from isolet.dashboard.sections import Section
from isolet.dashboard.typed_json import read_json
from isolet.dashboard.visits import Visit

section = Section(
    "", "functions/{function_id}/settings", api="PATCH /isolet/v1/functions/{function_id}", under="Functions"
)
LIMITS = {
    "timeout_ms": "Timeout (ms)",
    "cpu_ms": "CPU time (ms)",
    "memory_limit_mb": "Memory (MB)",
    "concurrency": "Calls at once, an instance",
    "max_instances": "Instances at most",
}
_HOSTS_READ = 1_000
ACCESS = {
    "none": "Nobody: it has no address of its own",
    "key": "Keys of the project",
    "user": "Signed-in users",
    "public": "Everybody",
}


@section.get("")
async def show(visit: Visit) -> Response:
    return await _show(visit)


async def _show(
    visit: Visit, *, status: int = 200, error: str | None = None, typed: Mapping[str, str] | None = None
) -> Response:
    function = await function_of(visit)
    return await render(
        visit,
        "Settings",
        "function_settings.html",
        function,
        status=status,
        error=error,
        limits=LIMITS,
        access=ACCESS,
        fields=_fields(function) if typed is None else {**_fields(function), "public_endpoint": "", **typed},
    )


def _fields(function: FunctionReply) -> dict[str, str]:
    """What stands in the form; a box that is empty has the text ""."""
    tool = function.tool
    return {
        **{name: str(getattr(function, name)) for name in LIMITS},
        "name": function.name,
        "description": function.description or "",
        "access": function.access,
        "cors": function.cors,
        "hosts": " ".join(function.hosts),
        "attempts": str(function.retry.attempts),
        "public_endpoint": "1" if function.public_endpoint else "",
        "tool_mode": "off" if tool is None else tool.mode,
        "tool_description": "" if tool is None else tool.description or "",
        "tool_schema": "" if tool is None else json.dumps(tool.input_schema or {}, indent=2),
    }


@section.post("")
async def save(visit: Visit, form: Mapping[str, str]) -> Response:
    function = await function_of(visit)
    try:
        changes = await _changes(function, form)
    except (ValueError, RecursionError) as exc:
        return await _show(visit, status=400, error=str(exc), typed=form)
    try:
        await visit.api.functions.update(function.id, FunctionUpdate(**changes))
    except Refused as exc:
        return await _show(visit, status=exc.status, error=exc.text, typed=form)
    return visit.go("functions", function.id, "settings", done="saved")


async def _changes(function: FunctionReply, form: Mapping[str, str]) -> dict[str, Any]:
    """Raises ValueError for what is no number, or no JSON."""
    changes: dict[str, Any] = {name: form[name] for name in ("name", "description", "access", "cors") if name in form}
    if "hosts" in form:
        # What is more than a function may have is refused all the same.
        changes["hosts"] = form["hosts"].split(maxsplit=_HOSTS_READ)
    changes |= {name: _number(label, form[name]) for name, label in LIMITS.items() if name in form}
    if "attempts" in form:
        changes["public_endpoint"] = "public_endpoint" in form
        changes["retry"] = {**function.retry.to_json(), "attempts": _number("Attempts", form["attempts"])}
    if "tool_mode" in form:
        changes["tool"] = await _tool(form)
    return changes


def _number(label: str, text: str) -> int:
    if not (text.strip().isascii() and text.strip().isdigit() and len(text) < 12):
        raise ValueError(f"{label} must be a whole number")
    return int(text)


async def _tool(form: Mapping[str, str]) -> dict[str, Any] | None:
    if form["tool_mode"] == "off":
        return None
    tool: dict[str, Any] = {"mode": form["tool_mode"], "description": form.get("tool_description", "")}
    if form.get("tool_schema", "").strip():
        try:
            tool["input_schema"] = await read_json(form["tool_schema"])
        except ValueError:
            raise ValueError("The schema of the arguments must be JSON") from None
    return tool


@section.post("/delete")
async def delete(visit: Visit, _: Mapping[str, str]) -> Response:
    function = await function_of(visit)
    await visit.api.functions.delete(function.id)
    return visit.go("functions", done="deleted")
