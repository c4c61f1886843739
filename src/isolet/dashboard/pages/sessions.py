"""Who is signed in, and ending sessions: a key sees its own, the root key all."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import RedirectResponse, Response

from isolet.clock import iso
from isolet.dashboard.sections import Section
from isolet.dashboard.visits import Visit

section = Section("", "sessions", of_project=False)


@section.get("")
async def show(visit: Visit) -> Response:
    found = [
        {
            "id": session.id,
            "agent": session.agent,
            "key_id": session.key_id,
            "created_at": iso(session.created_at_ms),
            "used_at": iso(session.used_at_ms),
        }
        for session in await visit.sessions.list(visit.principal)
    ]
    return await visit.render("sessions.html", found=found)


@section.post("/{session_id}/end")
async def end(visit: Visit, _: Mapping[str, str]) -> Response:
    await visit.sessions.end(visit.principal, visit.request.path_params["session_id"])
    return RedirectResponse("/dashboard/sessions?done=ended", 303)
