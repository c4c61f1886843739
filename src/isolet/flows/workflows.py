"""Create, read, change and delete workflows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from isolet.clock import Clock
from isolet.database import workflows as stored
from isolet.database.connection import Connection, Database
from isolet.database.workflows import WorkflowFilter
from isolet.domain.flows.call_cycles import CALLS_MAX
from isolet.domain.flows.graph import Graph, Node, lone_start, read_graph, with_configs
from isolet.domain.flows.workflows import Workflow, WorkflowStatus, calls_of, changed, slug_of
from isolet.errors import Conflict, InvalidInput, NotFound
from isolet.flows.activation import Activation, find_function
from isolet.ids import ProjectId, WorkflowId, is_uuid, new_id
from isolet.routing.routes import Routes
from isolet.turns import Turns

_MISSING = "Workflow not found"


# A definition with parts only is put together anew when the workflow was changed meanwhile.
_TRIES = 5
# Graphs that are read: it takes a core's time, up to some tenths of a second.
_AT_ONCE = 2
_WAITING_MAX = 20


class _Moved(Exception):
    """The workflow was changed since its graph was read."""


class _NewGraph(Struct, frozen=True):
    """`of_version` is the `lock_version` of the workflow some of whose graph it has; None when it has none of it."""

    graph: Graph
    of_version: int | None


class Workflows:
    """Every change is on disk before a method returns. A run that is under way keeps the graph it began with."""

    def __init__(self, *, database: Database, routes: Routes, activation: Activation, clock: Clock) -> None:
        self._database = database
        self._routes = routes
        self._activation = activation
        self._clock = clock
        self._turns = Turns(_AT_ONCE, of_one=_AT_ONCE - 1, waiting_max=_WAITING_MAX)

    async def create(self, project_id: ProjectId, values: Mapping[str, Any]) -> Workflow:
        """A draft from what a client sent: `name`, and more if it likes.

        Raises InvalidInput, LimitReached, TooManyRequests.
        """
        if values.get("name") is None:
            raise InvalidInput("name is required")
        now_ms = self._clock.now_ms()
        empty = Workflow(
            id=WorkflowId(new_id()),
            project_id=project_id,
            name="",
            slug="",
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
        )
        draft = changed(empty, {name: value for name, value in values.items() if name != "status"})
        sent = values.get("definition")
        graph = await self._read_in_thread(project_id, lone_start() if sent is None else sent)
        return await self._database.write(_insert, replace(draft, graph=graph))

    async def get(self, project_id: ProjectId | None, workflow_id: str, *, with_graph: bool = False) -> Workflow:
        """A workflow of that project, or of any when None. Raises NotFound for another's as for none."""
        read = partial(stored.get_workflow, workflow_id=WorkflowId(workflow_id.lower()), with_graph=with_graph)
        workflow = await self._database.read(read)
        if project_id is not None and workflow.project_id != project_id:
            raise NotFound(_MISSING)
        return workflow

    async def find(self, project_id: ProjectId, id_or_slug: str, *, with_graph: bool = True) -> Workflow:
        """By id, else by slug. Raises NotFound."""
        if is_uuid(id_or_slug):
            try:
                return await self.get(project_id, id_or_slug, with_graph=with_graph)
            except NotFound:
                pass
        read = partial(stored.find_workflow, project_id=project_id, slug=id_or_slug, with_graph=with_graph)
        found = await self._database.read(read)
        if found is None:
            raise NotFound(_MISSING)
        return found

    async def list(
        self, project_id: ProjectId, wanted: WorkflowFilter | None = None, *, limit: int | None = None
    ) -> Sequence[Workflow]:
        """Newest first, without graphs."""
        return await self._database.read(
            partial(stored.list_workflows, project_id=project_id, wanted=wanted, limit=limit)
        )

    async def statuses(self, ids: Sequence[str]) -> Mapping[str, WorkflowStatus]:
        """Of those that are there, by id."""
        return await self._database.read(stored.list_statuses, ids)

    async def update(
        self,
        project_id: ProjectId | None,
        workflow_id: str,
        values: Mapping[str, Any],
        *,
        lock_version: object = None,
    ) -> Workflow:
        """Change what is sent. Of a `definition` the parts that it lacks stay: its `nodes`, its `edges`.

        Raises NotFound, InvalidInput, LimitReached, TooManyRequests, and Conflict when `lock_version` is another one.
        """
        if lock_version is not None and (isinstance(lock_version, bool) or not isinstance(lock_version, int)):
            raise InvalidInput("lock_version must be a whole number")

        for _ in range(_TRIES):
            new = await self._new_graph(project_id, workflow_id, values)
            change = partial(self._changed, project_id=project_id, values=values, new=new, lock_version=lock_version)
            try:
                return await self._database.write(_modify, WorkflowId(workflow_id.lower()), change)
            except _Moved:
                continue
        raise Conflict("The workflow is being changed by others: try again")

    async def delete(self, project_id: ProjectId | None, workflow_id: str) -> None:
        """With all that belongs to it. Raises NotFound."""
        workflow = await self.get(project_id, workflow_id)
        if not await self._database.write(stored.delete_workflow, workflow.id):
            raise NotFound(_MISSING)

    async def check_activation(self, workflow: Workflow, graph: Graph | None = None) -> None:
        """Raises InvalidInput with what keeps the workflow from being active, with its own graph or another."""
        graph = graph or workflow.graph
        if graph is None:
            raise LookupError("the graph of this workflow was not read")
        await self._database.read(partial(self._activation.check, workflow=workflow, graph=graph))

    async def faults(self, workflow: Workflow, definition: object) -> tuple[Sequence[str], Graph | None]:
        """What would keep the workflow from being active with that graph, which is None when it cannot be read.

        Raises TooManyRequests.
        """
        try:
            graph = await self._read_in_thread(workflow.project_id, definition)
        except InvalidInput as exc:
            return [exc.message], None
        found = await self._database.read(partial(self._activation.faults, workflow=workflow, graph=graph))
        return found, graph

    async def _new_graph(
        self, project_id: ProjectId | None, workflow_id: str, values: Mapping[str, Any]
    ) -> _NewGraph | None:
        """What a `definition` makes of the graph. It takes a while, so it is no part of a transaction."""
        sent = values.get("definition")
        if sent is None:
            return None
        before = await self.get(project_id, workflow_id, with_graph=True)
        whole = _is_whole(sent)
        graph = await self._read_in_thread(before.project_id, sent if whole else _merged(before, sent))
        return _NewGraph(graph, None if whole else before.lock_version)

    def _changed(
        self,
        connection: Connection,
        before: Workflow,
        *,
        project_id: ProjectId | None,
        values: Mapping[str, Any],
        new: _NewGraph | None,
        lock_version: object,
    ) -> Workflow:
        if project_id is not None and before.project_id != project_id:
            raise NotFound(_MISSING)
        if lock_version is not None and lock_version != before.lock_version:
            raise Conflict(
                f"The workflow was changed meanwhile: lock_version is {before.lock_version}, not {lock_version}"
            )
        after = changed(before, values)
        if new is not None:
            if new.of_version not in (None, before.lock_version):
                raise _Moved
            after = replace(after, graph=new.graph)
        touched = (after.graph, after.status) != (before.graph, before.status)
        if touched and after.status is WorkflowStatus.ACTIVE and after.graph is not None:
            self._activation.check(connection, after, after.graph)
        return replace(after, lock_version=before.lock_version + 1, updated_at_ms=self._clock.now_ms())

    async def _read_in_thread(self, project_id: ProjectId, value: object) -> Graph:
        """Raises InvalidInput, and TooManyRequests when too much of the project waits to be read."""
        async with self._turns.take(project_id):
            return await asyncio.to_thread(self._read_graph, project_id, value)

    def _read_graph(self, project_id: ProjectId, value: object) -> Graph:
        """With the ids and names of functions that exist. Raises InvalidInput."""
        graph = read_graph(value, new_id)
        if len(set(calls_of(graph).values())) > CALLS_MAX:
            raise InvalidInput(f"definition.nodes: a workflow may call at most {CALLS_MAX} others")
        return with_configs(graph, partial(_with_functions, self._functions_of(project_id)))

    def _functions_of(self, project_id: ProjectId) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
        def named(config: Mapping[str, Any]) -> Mapping[str, Any]:
            route = find_function(self._routes, project_id, config.get("function_id"), config.get("function_slug"))
            if route is None:
                return config
            return {**config, "function_id": route.function_id, "function_name": route.name}

        return named


def _with_functions(named: Callable[[Mapping[str, Any]], Mapping[str, Any]], node: Node) -> Mapping[str, Any]:
    config = named(node.config)
    if tools := config.get("flow_agent_function_tools"):
        config = {**config, "flow_agent_function_tools": [dict(named(tool)) for tool in tools]}
    return config


def _is_whole(sent: object) -> bool:
    """Whether a definition needs nothing of the stored one; so does one that is refused."""
    return not isinstance(sent, Mapping) or {"nodes", "edges"} <= sent.keys()


def _merged(before: Workflow, sent: Mapping[str, Any]) -> object:
    """A definition with the parts of the stored one that it lacks."""
    whole = {**before.definition, **sent}
    if "edges" not in sent and isinstance(whole["nodes"], list):
        whole["edges"] = [_unbound(edge, _condition_ids(whole["nodes"])) for edge in whole["edges"]]
    return whole


def _condition_ids(nodes: Sequence[Any]) -> set[object]:
    """Of nodes as they were sent: anything may be missing or wrong in them."""
    found: set[object] = set()
    for node in nodes:
        try:
            found |= {condition.get("id") for condition in node["data"]["config"].get("conditions", ())}
        except (TypeError, KeyError, AttributeError):
            continue
    return found


def _unbound(edge: Mapping[str, Any], known: set[object]) -> Mapping[str, Any]:
    """An edge that stays while its condition went: its label finds the new one."""
    return edge if edge["flow_condition_id"] in known else {**edge, "flow_condition_id": None}


def _modify(connection: Connection, workflow_id: WorkflowId, change: Callable[..., Workflow]) -> Workflow:
    return stored.modify_workflow(connection, workflow_id, partial(change, connection))


def _insert(connection: Connection, draft: Workflow) -> Workflow:
    slug = draft.slug or stored.pick_slug(connection, draft.project_id, slug_of(draft.name))
    workflow = replace(draft, slug=slug)
    stored.insert_workflow(connection, workflow)
    return workflow
