"""What a function prints, as it prints it. The stream itself is the API's, by `relay.py`."""

from __future__ import annotations

from starlette.responses import Response

from isolet.dashboard.function_pages import function_of, render
from isolet.dashboard.sections import Section
from isolet.dashboard.visits import Visit

section = Section(
    "", "functions/{function_id}/logs", api="GET /isolet/v1/functions/{function_id}/logs/stream", under="Functions"
)


@section.get("")
async def show(visit: Visit) -> Response:
    function = await function_of(visit)
    own = await visit.api.logs.list_own_lines(function.id)
    return await render(visit, "Logs", "function_logs.html", function, own_lines=own.data)
