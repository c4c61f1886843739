"""The server itself, for its operator."""

from __future__ import annotations

import json
import platform
import re
from typing import Any

from starlette.responses import Response

from isolet.dashboard.sections import Section
from isolet.dashboard.visits import Visit
from isolet.errors import Forbidden

section = Section("System", "system", api="GET /healthz, GET /metrics", of_project=False)
_FIGURE = re.compile(r"^(isolet_\w+|process_\w+)(?:\{([^}]*)\})? ([0-9.e+-]+)$", re.MULTILINE)
_LABEL = re.compile(r'\w+="([^"\\]*)"')
_REPLY_MAX_BYTES = 8 * 1024 * 1024


@section.get("")
async def show(visit: Visit) -> Response:
    if not visit.principal.is_root:
        raise Forbidden("This page is for the operator: sign in with the root key")
    health = json.loads(await _read(visit, "/healthz"))
    figures = _figures((await _read(visit, "/metrics")).decode())
    return await visit.render(
        "system.html",
        health=health,
        instances={state: int(figures.get(("isolet_instances", state), 0)) for state in ("ready", "starting")},
        memory=figures.get(("isolet_instances_memory_bytes",), 0),
        own_memory=figures.get(("process_resident_memory_bytes",), 0),
        descriptors=figures.get(("process_open_fds",), 0),
        cpu_s=figures.get(("process_cpu_seconds_total",), 0),
        jobs=sorted((key[1], key[2], int(value)) for key, value in figures.items() if key[0] == "isolet_jobs"),
        python=platform.python_version(),
        kernel=platform.release(),
    )


async def _read(visit: Visit, path: str) -> bytes:
    answer = await visit.api.send("GET", path, [], b"", most=_REPLY_MAX_BYTES)
    if answer.status not in (200, 503):
        raise Forbidden(f"{path} answered {answer.status}")
    return bytes(answer.body)


def _figures(text: str) -> dict[tuple[Any, ...], float]:
    """By name and the values of labels."""
    found = _FIGURE.finditer(text)
    return {(one[1], *_LABEL.findall(one[2] or "")): float(one[3]) for one in found}
