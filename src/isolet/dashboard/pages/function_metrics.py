"""The figures of a function over a window, and how they lie in time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from starlette.responses import Response

from isolet.contract.usage import SpanReply
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
# How often the page asks again, in seconds: a span of the short window is a minute.
_REFRESH_S = {"1h": 10}
_REFRESH_OTHERS_S = 30


@section.get("")
async def show(visit: Visit) -> Response:
    function = await function_of(visit)
    window = visit.query.get("window", "24h")
    if window not in WINDOWS:
        window = "24h"
    series = await visit.api.usage.series(function.id, window=window)
    return await render(
        visit,
        "Metrics",
        "function_metrics.html",
        function,
        window=window,
        windows=WINDOWS,
        refresh_s=_REFRESH_S.get(window, _REFRESH_OTHERS_S),
        whole=series.whole,
        spans=series.spans,
        charts=charts_of(series.spans),
    )


def charts_of(spans: Sequence[SpanReply]) -> list[dict[str, Any]]:
    """As `<metric-chart>` draws them. What was not measured, because there was no call, is a gap."""
    times = [round(datetime.fromisoformat(span.at).timestamp() * 1000) for span in spans]
    memory = [span.memory_mb if span.total else None for span in spans]

    def chart(label: str, kind: str, unit: str, *series: tuple[str, str, list[Any]]) -> dict[str, Any]:
        lines = [{"name": name, "colour": colour, "values": values} for name, colour, values in series]
        return {
            "label": label,
            "kind": kind,
            "unit": unit,
            "times": times,
            "span": times[1] - times[0],
            "series": lines,
        }

    return [
        chart(
            *("Calls and errors", "bars", ""),
            ("calls", "first", [span.total for span in spans]),
            ("errors", "bad", [span.errors for span in spans]),
        ),
        chart(
            *("Duration of calls", "lines", "ms"),
            ("p50", "first", [span.p50_ms for span in spans]),
            ("p95", "second", [span.p95_ms for span in spans]),
            ("p99", "third", [span.p99_ms for span in spans]),
        ),
        chart("Cold starts", "bars", "", ("cold starts", "first", [span.cold_starts for span in spans])),
        chart("Peak memory", "lines", "MB", ("memory", "first", memory)),
    ]
