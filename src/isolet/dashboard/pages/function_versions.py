"""The versions of a function: what changed between them, and making an earlier one live again."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from isolet.client.errors import Refused
from isolet.contract.functions import Rollback
from isolet.dashboard.function_pages import function_of, render
from isolet.dashboard.sections import Section
from isolet.dashboard.visits import Visit
from isolet.errors import NotFound

section = Section(
    "", "functions/{function_id}/versions", api="GET /isolet/v1/functions/{function_id}/versions", under="Functions"
)

_LINES_MAX = 5_000


@section.get("")
async def show(visit: Visit) -> Response:
    return await _show(visit)


async def _show(visit: Visit, *, status: int = 200, error: str | None = None) -> Response:
    function = await function_of(visit)
    found = await visit.api.functions.list_versions(function.id, cursor=visit.query.get("cursor"))
    return await render(
        visit,
        "Versions",
        "function_versions.html",
        function,
        status=status,
        error=error,
        versions=found.data,
        next_cursor=found.next_cursor,
    )


@section.get("/{number}", api="GET /isolet/v1/functions/{function_id}/diff")
async def diff(visit: Visit) -> Response:
    """From a version to the live one."""
    function = await function_of(visit)
    number = visit.request.path_params["number"]
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise NotFound("Version not found")
    text = await visit.api.functions.diff(function.id, from_version=int(number), to_version=function.version)
    return await render(
        visit, "Versions", "function_diff.html", function, number=int(number), text=text, most=_LINES_MAX
    )


@section.post("/roll-back")
async def roll_back(visit: Visit, form: Mapping[str, str]) -> Response:
    function = await function_of(visit)
    number = form.get("version", "")
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        return await _show(visit, status=400, error="version must be a number")
    try:
        await visit.api.functions.roll_back(function.id, Rollback(version=int(number)))
    except Refused as exc:
        return await _show(visit, status=exc.status, error=exc.text)
    return visit.go("functions", function.id, "versions", done="rolled-back")
