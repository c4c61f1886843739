"""Steps of agents without the engine: the context of one, and what a performer made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from isolet.clock import SystemClock
from isolet.domain.flows.executions import Execution, Spaces, Step
from isolet.domain.flows.graph import Graph, read_graph
from isolet.domain.flows.nodes import NodeType
from isolet.domain.flows.policies import DEFAULT, Policy
from isolet.domain.flows.runs import RunStatus, StepStatus
from isolet.domain.flows.templates import Rendering
from isolet.flows.performer import StepContext
from isolet.ids import ExecutionId, ProjectId, StepId, new_id

NODE = "asked"


def a_graph(node_type: str, config: Mapping[str, Any], edges: Sequence[str] = ("next",)) -> Graph:
    """A start, the node, and what its edges lead to."""
    targets = [{"id": f"end_{place}", "data": _ending(place)} for place in range(len(edges))]
    nodes = [
        {"id": "start", "data": {"node_type": "start", "config": {}}},
        {"id": NODE, "data": {"node_type": node_type, "config": dict(config)}},
        *targets,
    ]
    links = [{"source": "start", "target": NODE}] + [
        {"source": NODE, "target": target["id"], "label": label} for target, label in zip(targets, edges, strict=True)
    ]
    return read_graph({"nodes": nodes, "edges": links}, new_id)


def _ending(place: int) -> dict[str, Any]:
    return {"node_type": "set_variable", "config": {"variable_name": "end", "variable_value": place}}


def a_step(
    project_id: ProjectId,
    config: Mapping[str, Any],
    *,
    node_type: str = "agent",
    edges: Sequence[str] = ("next",),
    variables: Mapping[str, Any] | None = None,
    policy: Policy = DEFAULT,
    **members: Any,
) -> StepContext:
    graph = a_graph(node_type, config, edges)
    node = graph.node(NODE)
    assert node is not None
    spaces = Spaces(vars=variables or {}, context={"channel": "api"})
    execution = Execution(
        id=ExecutionId(new_id()),
        project_id=project_id,
        workflow_id=new_id(),
        workflow_name="Test",
        status=RunStatus.RUNNING,
        trigger="api_call",
        tracking_id=new_id(),
        graph_id=new_id(),
        started_at_ms=0,
        last_event_at_ms=0,
    )
    step = Step(
        id=StepId(new_id()),
        number=2,
        node_id=NODE,
        node_type=NodeType(node_type),
        visit=1,
        status=StepStatus.RUNNING,
        started_at_ms=0,
    )
    return StepContext(
        execution=execution,
        step=step,
        node=node,
        graph=graph,
        policy=policy,
        spaces=spaces,
        rendering=Rendering(spaces=spaces.to_json(), env={"TOKEN": "t-1"}),
        attempt=1,
        clock=SystemClock(),
        **members,
    )


def events(step: StepContext, name: str) -> list[dict[str, Any]]:
    """The payloads of a step's events of one type."""
    return [json.loads(event.payload) for event in step.events if event.type == name]
