"""Workflows and their triggers over both databases."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from msgspec import Struct
from sqlalchemy import Connection, insert, select, update

from isolet.clock import SystemClock
from isolet.database import functions, projects
from isolet.database import workflow_triggers as stored_triggers
from isolet.database.connection import Database
from isolet.database.tables.workflows import workflows
from isolet.database.workflows import WorkflowFilter
from isolet.domain.flows.call_cycles import CALLS_MAX
from isolet.domain.flows.workflows import GRAPHS_MAX_BYTES, TRIGGERS_MAX, WORKFLOWS_MAX, Workflow, WorkflowStatus
from isolet.domain.projects import Project
from isolet.errors import Conflict, InvalidInput, LimitReached, NotFound, TooManyRequests
from isolet.flows.activation import Activation
from isolet.flows.triggers import WorkflowTriggers
from isolet.flows.workflows import Workflows
from isolet.ids import new_id
from isolet.routing.routes import Routes
from tests.integration.database.rows import a_function, a_project


class World(Struct, kw_only=True):
    project: Project
    other: Project
    function_id: str
    workflows: Workflows
    triggers: WorkflowTriggers
    models: set[str]


@pytest.fixture
async def world(database: Database) -> World:
    project, other = a_project(), a_project("other")
    for made in (project, other):
        await database.write(projects.insert_project, made)
    function = a_function(project, "routing")
    await database.write(functions.insert_function, function)
    routes = Routes("root")
    routes.load(functions=[function], projects=[project, other], keys=[])
    models: set[str] = set()
    activation = Activation(routes=routes, has_model=lambda _, project_id: project_id in models)
    clock = SystemClock()
    return World(
        project=project,
        other=other,
        function_id=function.id,
        workflows=Workflows(database=database, routes=routes, activation=activation, clock=clock),
        triggers=WorkflowTriggers(database=database, clock=clock),
        models=models,
    )


def _node(node_id: str, kind: str, **config: Any) -> dict[str, Any]:
    return {"id": node_id, "data": {"node_type": kind, "config": config}}


START = _node("start", "start")


def _line(*nodes: dict[str, Any]) -> dict[str, Any]:
    every = [START, *nodes]
    edges = [{"source": a["id"], "target": b["id"]} for a, b in itertools.pairwise(every)]
    return {"nodes": every, "edges": edges}


async def _made(world: World, name: str = "Orders", *nodes: dict[str, Any]) -> Workflow:
    return await world.workflows.create(world.project.id, {"name": name, "definition": _line(*nodes)})


async def test_a_workflow_is_made_read_and_changed(world: World) -> None:
    made = await _made(world, "Orders", _node("f", "function", function_slug="routing", save_response_to="x"))
    assert (made.slug, made.status, made.lock_version) == ("orders", WorkflowStatus.DRAFT, 0)

    read = await world.workflows.get(world.project.id, made.id.upper(), with_graph=True)
    assert (read.definition, read.name, read.created_at_ms) == (made.definition, made.name, made.created_at_ms)
    config = read.definition["nodes"][1]["data"]["config"]
    assert (config["function_id"], config["function_name"]) == (world.function_id, "routing")

    after = await world.workflows.update(world.project.id, made.id, {"name": "Bills", "status": "active"})
    assert (after.name, after.slug, after.status, after.lock_version) == ("Bills", "orders", "active", 1)
    assert await world.workflows.find(world.project.id, "orders") == after
    assert await world.workflows.find(world.project.id, made.id) == after

    await world.workflows.delete(None, made.id)
    with pytest.raises(NotFound):
        await world.workflows.find(world.project.id, "orders")


async def test_another_project_sees_none_of_it(world: World) -> None:
    made = await _made(world)
    for ask in (world.workflows.get, world.workflows.find, world.workflows.delete):
        with pytest.raises(NotFound, match="Workflow not found"):
            await ask(world.other.id, made.id)
    with pytest.raises(NotFound, match="Workflow not found"):
        await world.workflows.update(world.other.id, made.id, {"name": "Mine"})
    assert await world.workflows.list(world.other.id) == []
    same = await world.workflows.create(world.other.id, {"name": "Orders"})
    assert same.slug == "orders"


async def test_names_and_slugs_are_taken_once(world: World) -> None:
    first = await world.workflows.create(world.project.id, {"name": "Order flow"})
    second = await world.workflows.create(world.project.id, {"name": "Order  flow"})
    assert (first.slug, second.slug) == ("order-flow", "order-flow-2")
    for values, text in (
        ({"name": "Order flow"}, "name has already been taken"),
        ({"name": "Third", "slug": "order-flow"}, "slug has already been taken"),
    ):
        with pytest.raises(InvalidInput, match=text):
            await world.workflows.create(world.project.id, values)
    with pytest.raises(InvalidInput, match="name has already been taken"):
        await world.workflows.update(None, second.id, {"name": "Order flow"})


async def test_of_changes_at_once_each_counts(world: World) -> None:
    made = await _made(world)
    await asyncio.gather(*(world.workflows.update(None, made.id, {"description": str(n)}) for n in range(5)))
    assert (await world.workflows.get(None, made.id)).lock_version == 5
    with pytest.raises(Conflict, match="lock_version is 5, not 4"):
        await world.workflows.update(None, made.id, {"name": "Late"}, lock_version=4)
    with pytest.raises(InvalidInput, match="lock_version must be a whole number"):
        await world.workflows.update(None, made.id, {"name": "Late"}, lock_version="5")
    assert (await world.workflows.update(None, made.id, {"name": "Now"}, lock_version=5)).lock_version == 6


async def test_parts_of_a_definition_that_are_left_out_stay(world: World) -> None:
    made = await _made(world, "Parts", _node("d", "decide", conditions=[{"label": "next"}]), _node("h", "handoff"))
    graph = (await world.workflows.get(None, made.id, with_graph=True)).definition
    bound = {**graph["edges"][1], "flow_condition_id": graph["nodes"][1]["data"]["config"]["conditions"][0]["id"]}
    await world.workflows.update(None, made.id, {"definition": {"edges": [graph["edges"][0], bound]}})

    nodes = [START, _node("d", "decide", conditions=[{"label": "next"}]), _node("h", "handoff", reason="why")]
    after = (await world.workflows.update(None, made.id, {"definition": {"nodes": nodes}})).definition
    assert [edge["id"] for edge in after["edges"]] == [edge["id"] for edge in graph["edges"]]
    assert after["nodes"][2]["data"]["config"] == {"reason": "why"}

    with pytest.raises(InvalidInput, match=r"edges\[1\]\.target: there is no node 'h'"):
        await world.workflows.update(None, made.id, {"definition": {"nodes": nodes[:2]}})
    odd_ids = [{"data": {"config": {"conditions": [{"id": []}]}}}]
    odd: list[Any] = [None, 3, [None], [{"data": []}], [{"data": {"config": {"conditions": 3}}}], odd_ids]
    for nodes in odd:
        with pytest.raises(InvalidInput, match="nodes"):
            await world.workflows.update(None, made.id, {"definition": {"nodes": nodes}})
    assert (await world.workflows.get(None, made.id, with_graph=True)).definition == after


async def test_parts_that_change_at_once_all_count(world: World) -> None:
    made = await _made(world, "At once", _node("a", "handoff"), _node("b", "handoff"))
    nodes = [START, _node("a", "handoff", reason="new"), _node("b", "handoff")]
    ahead = [{"source": "start", "target": "b"}]
    parts = [{"nodes": nodes}, {"edges": ahead}, {"nodes": nodes}, {"edges": ahead}]
    await asyncio.gather(*(world.workflows.update(None, made.id, {"definition": part}) for part in parts))
    after = await world.workflows.get(None, made.id, with_graph=True)
    assert after.lock_version == len(parts)
    assert after.definition["nodes"][1]["data"]["config"] == {"reason": "new"}
    assert [edge["target"] for edge in after.definition["edges"]] == ["b"]


async def test_a_function_that_another_server_made_is_known(world: World, database: Database) -> None:
    made = a_function(world.project, "elsewhere", name="By name")
    await database.write(functions.insert_function, made)
    names = [{"function_id": made.id}, {"function_slug": "elsewhere"}, {"function_slug": "By name"}]
    for number, config in enumerate(names):
        workflow = await _made(world, f"Far {number}", _node("f", "function", **config))
        active = await world.workflows.update(None, workflow.id, {"status": "active"})
        assert active.status is WorkflowStatus.ACTIVE


async def test_what_cannot_run_is_refused_at_activation_and_later(world: World) -> None:
    unknown = new_id()
    made = await _made(world, "Faulty", _node("f", "function", function_id=unknown), _node("a", "agent"))
    with pytest.raises(InvalidInput) as caught:
        await world.workflows.update(None, made.id, {"status": "active"})
    assert caught.value.message == (
        f"the workflow cannot be active: node f: there is no function {unknown}; "
        "node a: the project has no model for agents"
    )
    assert (await world.workflows.get(None, made.id)).status is WorkflowStatus.DRAFT

    world.models.add(world.project.id)
    await world.workflows.update(None, made.id, {"definition": _line(_node("a", "agent")), "status": "active"})
    lost = {**_line(_node("a", "agent")), "edges": []}
    with pytest.raises(InvalidInput, match="node start: the start has no edge"):
        await world.workflows.update(None, made.id, {"definition": lost})
    # What has become wrong since keeps nobody from other changes.
    world.models.clear()
    assert (await world.workflows.update(None, made.id, {"name": "Renamed"})).status is WorkflowStatus.ACTIVE
    with pytest.raises(InvalidInput, match="has no model"):
        await world.workflows.check_activation(await world.workflows.get(None, made.id, with_graph=True))


async def test_functions_of_other_projects_are_unknown(world: World) -> None:
    definition = _line(_node("f", "function", function_id=world.function_id))
    foreign = await world.workflows.create(world.other.id, {"name": "Thief", "definition": definition})
    config = foreign.definition["nodes"][1]["data"]["config"]
    assert "function_name" not in config
    with pytest.raises(InvalidInput, match=f"node f: there is no function {world.function_id}"):
        await world.workflows.update(None, foreign.id, {"status": "active"})


async def test_workflows_that_call_each_other_in_a_circle_are_not_active(world: World) -> None:
    first = await _made(world, "First", _node("c", "call", workflow_slug="second"))
    with pytest.raises(InvalidInput, match="node c: there is no workflow second"):
        await world.workflows.update(None, first.id, {"status": "active"})
    second = await _made(world, "Second", _node("c", "call", workflow_id=first.id))
    for one in (first, second):
        with pytest.raises(InvalidInput, match="node c: the workflow calls itself, by way of"):
            await world.workflows.update(None, one.id, {"status": "active"})
    await world.workflows.update(None, second.id, {"definition": _line(_node("h", "handoff"))})
    assert (await world.workflows.update(None, first.id, {"status": "active"})).status is WorkflowStatus.ACTIVE


async def test_calls_have_bounds_and_names_of_any_kind(world: World) -> None:
    many = [_node(f"c{n}", "call", workflow_slug=f"w{n}") for n in range(CALLS_MAX + 1)]
    with pytest.raises(InvalidInput, match="a workflow may call at most 50 others"):
        await _made(world, "Many", *many)
    odd = "\x00\ud800"
    made = await _made(world, "Odd", _node("f", "function", function_slug=odd), _node("c", "call", workflow_slug=odd))
    with pytest.raises(InvalidInput) as caught:
        await world.workflows.update(None, made.id, {"status": "active"})
    assert f"there is no function {odd}; node c: there is no workflow {odd}" in caught.value.message


async def test_lists_are_newest_first_and_filtered(world: World) -> None:
    made = [await _made(world, name) for name in ("100% Größe", "b_c", "B-D", "ÄÖ")]
    everything = await world.workflows.list(world.project.id)
    assert [one.id for one in everything] == [one.id for one in reversed(made)]

    async def found(**wanted: Any) -> list[str]:
        return [one.name for one in await world.workflows.list(world.project.id, WorkflowFilter(**wanted))]

    assert await found(name_contains="B") == ["B-D", "b_c"]
    assert await found(name_contains="_") == ["b_c"]
    assert await found(name_contains="Größe") == ["100% Größe"]
    assert await found(name_contains="ÄÖ") == ["ÄÖ"]
    assert await found(name_contains="0%") == ["100% Größe"]
    assert await found(status=WorkflowStatus.ACTIVE) == []
    assert await found(created_after_ms=made[1].created_at_ms, created_before_ms=made[2].created_at_ms) != []
    assert await found(created_after_ms=made[-1].created_at_ms + 1) == []
    assert await found(created_before_ms=made[0].created_at_ms - 1) == []


async def test_workflows_and_their_graphs_have_bounds(world: World, database: Database) -> None:
    made = await _made(world, "Full")

    def fill(connection: Connection, size: int) -> None:
        connection.execute(update(workflows).where(workflows.c.id == made.id).values(graph_bytes=size))

    await database.write(fill, GRAPHS_MAX_BYTES)
    with pytest.raises(LimitReached, match=f"at most {GRAPHS_MAX_BYTES} bytes together"):
        await _made(world, "Large")
    # What it has itself does not count against its own change.
    await world.workflows.update(None, made.id, {"definition": _line(_node("h", "handoff"))})

    def copy(connection: Connection) -> None:
        row = dict(connection.execute(select(workflows).where(workflows.c.id == made.id)).one()._mapping)
        rows = [{**row, "id": new_id(), "name": str(n), "slug": str(n)} for n in range(WORKFLOWS_MAX - 1)]
        connection.execute(insert(workflows), rows)

    await database.write(copy)
    with pytest.raises(LimitReached, match=f"The project has {WORKFLOWS_MAX} workflows"):
        await _made(world, "More")
    assert (await world.workflows.create(world.other.id, {"name": "More"})).name == "More"


async def test_graphs_of_a_project_wait_for_their_turn(world: World) -> None:
    asked = [world.workflows.create(world.project.id, {"name": str(number)}) for number in range(30)]
    done = await asyncio.gather(*asked, world.workflows.create(world.other.id, {"name": "x"}), return_exceptions=True)
    refused = [one for one in done if isinstance(one, TooManyRequests)]
    # One is read, and twenty wait.
    assert len(refused) == 9
    assert all(one.retry_after_s == 5 for one in refused)
    assert len(await world.workflows.list(world.project.id)) == 21
    assert isinstance(done[-1], Workflow)


async def test_triggers_come_and_go(world: World) -> None:
    workflow = await _made(world)
    call = await world.triggers.create(workflow, {"trigger_type": "api_call"})
    nested = {"trigger_type": "inbound_message", "triggerable_attributes": {"phone_number_id": "1"}, "active": False}
    inbound = await world.triggers.create(workflow, nested)
    assert await world.triggers.list(workflow) == [call, inbound]
    assert inbound.settings == {"phone_number_id": "1"}
    assert (await world.triggers.change(call, False)).active is False
    with pytest.raises(InvalidInput, match="active must be true or false"):
        await world.triggers.change(call, "false")
    with pytest.raises(NotFound):
        await world.triggers.get(world.other.id, call.id)

    with pytest.raises(InvalidInput, match="trigger_type"):
        await world.triggers.replace(workflow, [{"trigger_type": "api_call"}, {"trigger_type": "nothing"}])
    assert [trigger.id for trigger in await world.triggers.list(workflow)] == [call.id, inbound.id]
    assert await world.triggers.replace(workflow, []) == []
    with pytest.raises(NotFound, match="Trigger not found"):
        await world.triggers.delete(call)
    await world.triggers.replace(workflow, [{"trigger_type": "api_call"}] * TRIGGERS_MAX)
    with pytest.raises(LimitReached, match="50 triggers"):
        await world.triggers.create(workflow, {"trigger_type": "api_call"})


async def test_a_number_and_an_event_of_it_start_one_workflow(world: World) -> None:
    first, second = await _made(world, "First"), await _made(world, "Second")
    sent = {"trigger_type": "inbound_message", "phone_number_id": "1"}
    await world.triggers.create(first, sent)
    with pytest.raises(InvalidInput, match="another active trigger starts on the same already"):
        await world.triggers.create(second, sent)
    waiting = await world.triggers.create(second, {**sent, "active": False})
    with pytest.raises(InvalidInput, match="another active trigger"):
        await world.triggers.change(waiting, True)
    assert not (await world.triggers.get(None, waiting.id)).active
    event = {"trigger_type": "whatsapp_event", "event": "whatsapp.message.sent"}
    await world.triggers.replace(first, [event])
    await world.triggers.create(second, {**event, "phone_number_id": "1"})
    with pytest.raises(InvalidInput, match="another active trigger"):
        await world.triggers.replace(second, [sent, event])
    assert [trigger.type for trigger in await world.triggers.list(second)] == ["inbound_message", "whatsapp_event"]


async def test_only_active_workflows_wait_for_events(world: World, database: Database) -> None:
    workflow = await _made(world, "Waiting", _node("h", "handoff"))
    sent = {"trigger_type": "project_event", "event_name": "order.paid"}
    trigger = await world.triggers.create(workflow, sent)

    async def waiting(project: Project, name: str = "order.paid") -> list[str]:
        found = await database.read(stored_triggers.triggers_for_event, project.id, name)
        return [one.id for one in found]

    assert await waiting(world.project) == []
    await world.workflows.update(None, workflow.id, {"status": "active"})
    assert await waiting(world.project) == [trigger.id]
    assert await waiting(world.other) == await waiting(world.project, "order.sent") == []
    await world.triggers.change(trigger, False)
    assert await waiting(world.project) == []
