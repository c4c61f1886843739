"""What keeps a workflow from being active, beyond its graph: functions, other workflows, the model that it asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from isolet.database import functions as stored_functions
from isolet.database import workflows as stored
from isolet.database.connection import Connection
from isolet.domain.flows.graph import Graph, faults_of
from isolet.domain.flows.workflows import Workflow, calls_of, functions_of, nodes_with_model
from isolet.errors import InvalidInput
from isolet.ids import ProjectId, WorkflowId
from isolet.routing.routes import Route, Routes

_SHOWN = 10


def find_function(routes: Routes, project_id: ProjectId, function_id: str | None, slug: str | None) -> Route | None:
    """A function of the project as a node names it: by its id, else by its slug."""
    if function_id is not None:
        route = routes.function(function_id)
        return route if route is not None and route.project_id == project_id else None
    return None if slug is None else routes.named(project_id, slug)


def _no_targets(_: Connection, __: WorkflowId) -> Mapping[str, Iterable[str]]:
    return {}


class Activation(Struct, frozen=True, kw_only=True):
    """`has_model` tells whether a project has a model for its agents; `policy_targets` to which nodes the policies of
    a workflow lead, by node. Everything here is called in a thread of the database.
    """

    routes: Routes
    has_model: Callable[[Connection, ProjectId], bool]
    policy_targets: Callable[[Connection, WorkflowId], Mapping[str, Iterable[str]]] = _no_targets

    def check(self, connection: Connection, workflow: Workflow, graph: Graph) -> None:
        """Raises InvalidInput with the faults, each of which names its node."""
        faults = self.faults(connection, workflow, graph)
        if not faults:
            return
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise InvalidInput(f"the workflow cannot be active: {'; '.join(faults[:_SHOWN])}{more}")

    def faults(self, connection: Connection, workflow: Workflow, graph: Graph) -> list[str]:
        further = self.policy_targets(connection, workflow.id)
        return [
            *faults_of(graph, further=further),
            *self._unknown_functions(connection, workflow.project_id, graph),
            *self._faults_of_calls(connection, workflow, graph),
            *self._missing_model(connection, workflow.project_id, graph),
        ]

    def _unknown_functions(self, connection: Connection, project_id: ProjectId, graph: Graph) -> list[str]:
        """Functions that are not in memory are asked for: another server may just have made them."""
        absent = [
            use
            for use in functions_of(graph)
            if find_function(self.routes, project_id, use.function_id, use.slug) is None
        ]
        if not absent:
            return []
        names = {use.function_id or use.slug or "" for use in absent}
        there = stored_functions.present_names(connection, project_id, names)
        return [
            f"node {use.node_id}: there is no function {name[:80]}"
            for use in absent
            if (name := use.function_id or use.slug or "") not in there
        ]

    def _faults_of_calls(self, connection: Connection, workflow: Workflow, graph: Graph) -> list[str]:
        calls = calls_of(graph)
        return stored.call_map(connection, workflow.project_id).faults(workflow.id, calls) if calls else []

    def _missing_model(self, connection: Connection, project_id: ProjectId, graph: Graph) -> list[str]:
        asking = nodes_with_model(graph)
        if not asking or self.has_model(connection, project_id):
            return []
        return [f"node {node_id}: the project has no model for agents" for node_id in asking]
