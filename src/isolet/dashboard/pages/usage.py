"""What a project used in a month, and what it may use."""

from __future__ import annotations

import re

from starlette.responses import Response

from isolet.contract.usage import UsageReply
from isolet.dashboard.sections import Section
from isolet.dashboard.visits import Visit

section = Section("Usage", "usage", api="GET /isolet/v1/usage?project={slug}")
_MONTH = re.compile(r"(19[7-9]\d|2\d{3})-(0[1-9]|1[0-2])")
_NOTHING = {"invocations": 0, "errors": 0, "gb_seconds": 0, "egress_bytes": 0, "storage_bytes": 0}


@section.get("")
async def show(visit: Visit) -> Response:
    month = visit.query.get("month", "")
    asked = month if _MONTH.fullmatch(month) else None
    found = (await visit.api.usage.list(project=visit.slug, month=asked)).data
    usage = found[0] if found else UsageReply(project=visit.slug, month=asked or "", **_NOTHING)
    project = await visit.api.projects.get(visit.slug)
    limits = await visit.api.limits.get()
    return await visit.render(
        "usage.html",
        usage=usage,
        before=_moved(usage.month, -1),
        after=_moved(usage.month, 1),
        project=project,
        rate=limits.requests_a_minute.get(project.plan),
    )


def _moved(month: str, by: int) -> str:
    if not _MONTH.fullmatch(month):
        return ""
    number = int(month[:4]) * 12 + int(month[5:]) - 1 + by
    return f"{number // 12:04}-{number % 12 + 1:02}"
