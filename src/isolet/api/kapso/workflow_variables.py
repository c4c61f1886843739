"""What nodes of a workflow may look up, through Kapso's API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import Response
from msgspec import Struct

from isolet.api.kapso.access import READ
from isolet.api.reply import large
from isolet.api.rows import Granted, route
from isolet.clock import iso
from isolet.domain.flows.graph import Graph
from isolet.domain.flows.variables import CONTEXT, SYSTEM, Facts, Found, Seen, discovered
from isolet.domain.flows.workflows import Workflow
from isolet.flows.workflows import Workflows


class WorkflowVariablesDoor(Struct, frozen=True, kw_only=True):
    """`latest` tells of the newest runs of a workflow, the newest first."""

    workflows: Workflows
    latest: Callable[[Workflow], Awaitable[Sequence[Seen]]]

    @route("GET", "/workflows/{workflow_id}/variables", READ)
    async def list_variables(self, grant: Granted, workflow_id: str) -> Response:
        workflow = await self.workflows.get(grant.principal.project_id, workflow_id, with_graph=True)
        graph, runs = workflow.graph, await self.latest(workflow)
        return await large(lambda: {"data": _shape(graph, runs)})


def _shape(graph: Graph | None, runs: Sequence[Seen]) -> dict[str, Any]:
    found = {} if graph is None else discovered(graph, runs)
    return {
        "fixed": {"system": _fixed(SYSTEM), "context": _fixed(CONTEXT)},
        "discovered": {space: [_item(one) for one in items] for space, items in found.items()},
    }


def _fixed(facts: Facts) -> dict[str, Any]:
    return {
        path: {"type": kind, "description": description, "always_available": always}
        for path, (kind, description, always) in facts.items()
    }


def _item(found: Found) -> dict[str, Any]:
    return {
        "path": found.path,
        "name": found.path.partition(".")[2],
        "type": found.kind,
        "sample_values": found.samples,
        "usage_count": found.uses,
        "last_seen_at": None if found.last_seen_ms is None else iso(found.last_seen_ms),
        "reference": f"{{{{{found.path}}}}}",
    }
