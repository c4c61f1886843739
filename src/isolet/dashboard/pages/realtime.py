"""Live connections of a project: who is there, channels, and a message by hand."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from isolet.client.errors import Refused
from isolet.contract.realtime import Publication
from isolet.dashboard.sections import Section
from isolet.dashboard.typed_json import read_json
from isolet.dashboard.visits import Visit

section = Section("Realtime", "realtime", api="GET /isolet/v1/projects/{slug}/realtime")
_FIELDS = {"channel": "", "event": "", "data": "{}"}


@section.get("")
async def show(visit: Visit) -> Response:
    return await _render(visit)


async def _render(
    visit: Visit, *, status: int = 200, error: str | None = None, typed: Mapping[str, str] = _FIELDS
) -> Response:
    state = await visit.api.realtime.get(visit.slug)
    rules = await visit.api.realtime.get_rules(visit.slug)
    return await visit.render(
        "realtime.html", status=status, error=error, state=state, rules=rules, typed={**_FIELDS, **typed}
    )


@section.post("/publish")
async def publish(visit: Visit, form: Mapping[str, str]) -> Response:
    try:
        data = await read_json(form.get("data") or "null")
    except (ValueError, RecursionError) as exc:
        return await _render(visit, status=422, error=f"The data must be JSON: {exc}", typed=form)
    body = Publication(channel=form.get("channel", ""), event=form.get("event", ""), data=data)
    try:
        await visit.api.realtime.publish(visit.slug, body)
    except Refused as exc:
        return await _render(visit, status=exc.status, error=exc.text, typed=form)
    return visit.go("realtime", done="published")
