"""The functions of a project at a glance, and new ones."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from isolet.client.errors import Refused
from isolet.contract.functions import NewFunctionDefinition
from isolet.dashboard.sections import Section
from isolet.dashboard.starters import STARTERS
from isolet.dashboard.visits import Visit

section = Section("Functions", "functions", api="GET /isolet/v1/projects/{slug}/functions")


@section.get("")
async def show(visit: Visit) -> Response:
    query = visit.query.get("q", "")
    found = await visit.api.functions.overview(visit.slug, q=query or None, cursor=visit.query.get("cursor"))
    return await visit.render("functions.html", functions=found.data, next_cursor=found.next_cursor, q=query)


@section.get("/new", api="POST /isolet/v1/projects/{slug}/functions")
async def ask(visit: Visit) -> Response:
    return await _ask(visit)


async def _ask(
    visit: Visit, *, status: int = 200, name: str = "", starter: str = STARTERS[0].name, error: str | None = None
) -> Response:
    return await visit.render(
        "function_new.html", status=status, starters=STARTERS, name=name, chosen=starter, error=error
    )


@section.post("/new")
async def create(visit: Visit, form: Mapping[str, str]) -> Response:
    name = form.get("name", "").strip()
    starter = next((one for one in STARTERS if one.name == form.get("starter")), STARTERS[0])
    definition = NewFunctionDefinition(name=name, files={starter.file: starter.code})
    try:
        made = await visit.api.functions.create(visit.slug, definition, wait=30)
    except Refused as exc:
        return await _ask(visit, status=exc.status, name=name, starter=starter.name, error=exc.text)
    return visit.go("functions", made.id, "code", done="created")
