"""The figures of a function over a window, and how they lie in time."""

from __future__ import annotations

from starlette.responses import Response

from isolet.dashboard.function_pages import function_of, render
from isolet.dashboard.sections import Section
from isolet.dashboard.visits import Visit

section = Section(
    "",
    "functions/{function_id}/metrics",
    api="GET /isolet/v1/functions/{function_id}/metrics/series",
    under="Functions",
)
WINDOWS = {"1h": "1 hour", "24h": "24 hours", "7d": "7 days", "30d": "30 days"}


@section.get("")
async def show(visit: Visit) -> Response:
    function = await function_of(visit)
    window = visit.query.get("window", "24h")
    if window not in WINDOWS:
        window = "24h"
    figures = await visit.api.usage.of_function(function.id, window=window)
    series = await visit.api.usage.series(function.id, window=window)
    return await render(
        visit,
        "Metrics",
        "function_metrics.html",
        function,
        window=window,
        windows=WINDOWS,
        figures=figures,
        spans=series.spans,
        succeeded=[span.total - span.errors for span in series.spans],
        p95=[span.p95_ms or 0 for span in series.spans],
    )
