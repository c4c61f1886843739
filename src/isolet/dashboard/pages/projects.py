"""The projects that a session sees, and new ones."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import RedirectResponse, Response

from isolet.client.errors import Refused
from isolet.contract.projects import ProjectCreate
from isolet.dashboard.sections import Section
from isolet.dashboard.visits import Visit

section = Section("", "projects", api="GET /isolet/v1/projects", of_project=False)


@section.get("")
async def show(visit: Visit) -> Response:
    return await _render(visit)


async def _render(visit: Visit, *, status: int = 200, slug: str = "", error: str | None = None) -> Response:
    found = await visit.api.projects.list(cursor=visit.query.get("cursor"))
    return await visit.render(
        "projects.html", status=status, projects=found.data, next_cursor=found.next_cursor, slug=slug, error=error
    )


@section.post("")
async def create(visit: Visit, form: Mapping[str, str]) -> Response:
    slug = form.get("slug", "")
    try:
        await visit.api.projects.create(ProjectCreate(slug=slug, name=form.get("name") or None))
    except Refused as exc:
        return await _render(visit, status=exc.status, slug=slug, error=exc.text)
    return RedirectResponse(f"/dashboard/projects/{slug}/functions", 303)
