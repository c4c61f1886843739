"""The calls of a function: a list whose filters are in the address, and what is known of one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from isolet.client.errors import Refused
from isolet.contract.functions import FunctionReply
from isolet.contract.invocations import InvocationSummaryReply
from isolet.contract.models import Page
from isolet.dashboard.function_pages import function_of, render
from isolet.dashboard.sections import Section
from isolet.dashboard.visits import Visit
from isolet.errors import NotFound

section = Section("", "functions/{function_id}/invocations", api="GET /isolet/v1/invocations", under="Functions")
STATUSES = ("succeeded", "failed", "2xx", "3xx", "4xx", "5xx", "queued", "running", "cancelled")
KINDS = ("sync", "async", "cron", "websocket", "flow")
_FILTERS = ("status", "kind", "q", "since", "until")


@section.get("")
async def show(visit: Visit) -> Response:
    function = await function_of(visit)
    try:
        found = await _find(visit, function.id)
    except Refused as exc:
        if exc.status == 403:
            raise
        return await _show(visit, function, status=exc.status, error=exc.text, calls=None, next_cursor=None)
    return await _show(visit, function, calls=found.data, next_cursor=found.next_cursor)


async def _find(visit: Visit, function_id: str) -> Page[InvocationSummaryReply]:
    query = {name: value for name, value in visit.query.items() if value}
    return await visit.api.invocations.list(
        project=visit.slug,
        function=function_id,
        status=query.get("status"),
        kind=query.get("kind"),
        q=query.get("q"),
        since=query.get("since"),
        until=query.get("until"),
        cursor=query.get("cursor"),
    )


async def _show(visit: Visit, function: FunctionReply, *, status: int = 200, **found: Any) -> Response:
    filters = {name: visit.query.get(name) or None for name in _FILTERS}
    found |= {"filters": filters, "statuses": STATUSES, "kinds": KINDS}
    return await render(visit, "Invocations", "function_calls.html", function, status=status, **found)


@section.get("/{invocation_id}", api="GET /isolet/v1/invocations/{invocation_id}")
async def detail(visit: Visit) -> Response:
    function = await function_of(visit)
    call = await visit.api.invocations.get(visit.request.path_params["invocation_id"])
    if call.function_id != function.id:
        raise NotFound("Invocation not found")
    return await render(visit, "Invocations", "function_call.html", function, call=call)


@section.post("/{invocation_id}/replay")
async def replay(visit: Visit, _: Mapping[str, str]) -> Response:
    function = await function_of(visit)
    call = await visit.api.invocations.get(visit.request.path_params["invocation_id"])
    if call.function_id != function.id:
        raise NotFound("Invocation not found")
    again = await visit.api.invocations.replay(call.id)
    return visit.go("functions", function.id, "invocations", again.id, done="replayed")
