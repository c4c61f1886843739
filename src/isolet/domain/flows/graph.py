"""The graph of a workflow: nodes with settings, and labelled edges between them.

`read_graph` refuses what can never be a workflow. `faults_of` says what keeps a workflow from being activated: a draft
may hold that. A node without an edge ends the run; cycles are allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from isolet.domain.flows.nodes import NodeType, check_config
from isolet.domain.json_bounds import bounded_json
from isolet.errors import InvalidInput
from isolet.ids import is_uuid

GRAPH_MAX_BYTES = 1_048_576
NODES_MAX = 500
EDGES_MAX = 2_000
# Reading takes time for each value.
VALUES_MAX = 32_768
NEXT = "next"
NODE_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,127}")
_LABEL_MAX_CHARS = 256
_SHOWN_CHARS = 80


class Node(Struct, frozen=True, kw_only=True):
    """`config` is as `check_config` gives it. `position` is where it is drawn; None when its client named none."""

    id: str
    kind: NodeType
    config: Mapping[str, Any]
    position: tuple[float, float] | None = None
    display_name: str | None = None

    def to_json(self) -> dict[str, Any]:
        x, y = self.position or (0, 0)
        return {
            "id": self.id,
            "type": "flow-node",
            "position": {"x": x, "y": y},
            "data": {"node_type": self.kind.value, "config": dict(self.config), "display_name": self.display_name},
        }


class Edge(Struct, frozen=True, kw_only=True):
    """`condition_id` names a condition of a decide node; without one the label does."""

    id: str
    source: str
    target: str
    label: str = NEXT
    condition_id: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "source": self.source,
            "target": self.target,
            "label": self.label,
            "type": "default",
            "flow_condition_id": self.condition_id,
        }


class Graph(Struct, frozen=True, kw_only=True):
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    @property
    def start(self) -> Node:
        return next(node for node in self.nodes if node.kind is NodeType.START)

    def node(self, node_id: str) -> Node | None:
        return next((node for node in self.nodes if node.id == node_id), None)

    def edges_from(self, node_id: str) -> list[Edge]:
        return [edge for edge in self.edges if edge.source == node_id]

    def following(self, node_id: str, label: str = NEXT) -> Edge | None:
        """The edge that a run takes from a node; None at the end of the run."""
        return next((edge for edge in self.edges_from(node_id) if edge.label == label), None)

    def to_json(self) -> dict[str, Any]:
        return {"nodes": [node.to_json() for node in self.nodes], "edges": [edge.to_json() for edge in self.edges]}


def lone_start() -> dict[str, Any]:
    """The definition of a workflow for which nobody sent one."""
    return {"nodes": [{"id": "start", "data": {"node_type": "start", "config": {}}}], "edges": []}


def read_graph(value: object, new_id: Callable[[], str], *, label: str = "definition") -> Graph:
    """A graph as a client sends it. Edges and conditions get ids where they have none. Raises InvalidInput."""
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{label} must be an object with nodes and edges")
    bounded_json(label, value, most=GRAPH_MAX_BYTES)
    _check_values(label, [value])
    sent_nodes = _bounded(f"{label}.nodes", value.get("nodes"), NODES_MAX)
    sent_edges = _bounded(f"{label}.edges", value.get("edges", []), EDGES_MAX)
    nodes = tuple(_read_node(f"{label}.nodes[{place}]", node, new_id) for place, node in enumerate(sent_nodes))
    _check_nodes(label, nodes)
    # Once more: JSON that was sent as text has become values.
    _check_values(label, [node.config for node in nodes])
    by_id = {node.id: node for node in nodes}
    edges = tuple(_read_edge(f"{label}.edges[{place}]", edge, by_id, new_id) for place, edge in enumerate(sent_edges))
    _check_edges(label, edges)
    return Graph(nodes=nodes, edges=edges)


def stored_graph(value: Mapping[str, Any]) -> Graph:
    """The graph of what `Graph.to_json` gave: it was checked when it was stored, by the rules of that day."""
    return Graph(
        nodes=tuple(_stored_node(node) for node in value["nodes"]),
        edges=tuple(
            Edge(
                id=edge["id"],
                source=edge["source"],
                target=edge["target"],
                label=edge["label"],
                condition_id=edge["flow_condition_id"],
            )
            for edge in value["edges"]
        ),
    )


def _stored_node(node: Mapping[str, Any]) -> Node:
    data, position = node["data"], node["position"]
    return Node(
        id=node["id"],
        kind=NodeType(data["node_type"]),
        config=data["config"],
        position=(position["x"], position["y"]),
        display_name=data["display_name"],
    )


def _check_values(label: str, level: list[Any]) -> None:
    """Level by level. Raises InvalidInput."""
    count = 0
    while level:
        count += len(level)
        if count > VALUES_MAX:
            raise InvalidInput(f"{label} has too many values (maximum is {VALUES_MAX})")
        groups = [one.values() if isinstance(one, Mapping) else one for one in level if isinstance(one, Mapping | list)]
        level = [value for group in groups for value in group]


def _bounded(label: str, value: object, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise InvalidInput(f"{label} must be a list of at most {most}")
    return value


def _read_node(label: str, value: object, new_id: Callable[[], str]) -> Node:
    node = _object(label, value, ("id", "type", "position", "data"))
    node_id = node.get("id")
    if not isinstance(node_id, str) or NODE_ID.fullmatch(node_id) is None:
        raise InvalidInput(f"{label}.id must be a letter, then letters, digits, _ and -, at most 128 characters")
    named = f"{label} ({node_id})"
    data = _object(f"{named}.data", node.get("data"), ("node_type", "config", "display_name"))
    kind = data.get("node_type")
    if not isinstance(kind, str) or kind not in list(NodeType):
        raise InvalidInput(f"{named}.data.node_type must be one of {', '.join(NodeType)}")
    name = data.get("display_name")
    if name is not None and (not isinstance(name, str) or len(name) > _LABEL_MAX_CHARS):
        raise InvalidInput(f"{named}.data.display_name must be text of at most {_LABEL_MAX_CHARS} characters")
    config = check_config(NodeType(kind), f"{named}.data.config", data.get("config"))
    if kind == NodeType.DECIDE:
        config["conditions"] = [_with_id(condition, new_id) for condition in config["conditions"]]
    return Node(
        id=node_id,
        kind=NodeType(kind),
        config=config,
        position=_position(named, node.get("position")),
        display_name=name,
    )


def _with_id(condition: Mapping[str, Any], new_id: Callable[[], str]) -> dict[str, Any]:
    return {"description": None, **condition, "id": condition.get("id") or new_id()}


def _position(label: str, value: object) -> tuple[float, float] | None:
    if value is None:
        return None
    place = _object(f"{label}.position", value, ("x", "y"))
    numbers = [place.get("x"), place.get("y")]
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) <= 1e6:
            raise InvalidInput(f"{label}.position must have the numbers x and y, at most 1000000")
    return (numbers[0], numbers[1])  # type: ignore[return-value]


def _read_edge(label: str, value: object, nodes: Mapping[str, Node], new_id: Callable[[], str]) -> Edge:
    edge = _object(label, value, ("id", "source", "target", "label", "type", "flow_condition_id"))
    ends = []
    for side in ("source", "target"):
        end = edge.get(side)
        if not isinstance(end, str) or end not in nodes:
            raise InvalidInput(f"{label}.{side}: there is no node {_shown(end)}")
        ends.append(end)
    sent, condition = edge.get("label"), edge.get("flow_condition_id")
    name: Any = NEXT if sent is None else sent
    if not isinstance(name, str) or not name or len(name) > _LABEL_MAX_CHARS:
        raise InvalidInput(f"{label}.label must be text of 1 to {_LABEL_MAX_CHARS} characters")
    if condition is not None:
        name = _label_of(label, condition, nodes[ends[0]])
    known = edge.get("id")
    edge_id = known if isinstance(known, str) and is_uuid(known) else new_id()
    return Edge(id=edge_id, source=ends[0], target=ends[1], label=name, condition_id=condition)


def _label_of(label: str, condition: object, source: Node) -> str:
    for known in source.config.get("conditions", ()):
        if known["id"] == condition:
            return str(known["label"])
    raise InvalidInput(f"{label}.flow_condition_id: node {source.id} has no condition {_shown(condition)}")


def _object(label: str, value: object, members: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{label} must be an object")
    for name in value:
        if name not in members:
            raise InvalidInput(f"{label}.{_shown(name)} is not known")
    return value


def _check_nodes(label: str, nodes: Iterable[Node]) -> None:
    seen: set[str] = set()
    for node in nodes:
        if node.id in seen:
            raise InvalidInput(f"{label}.nodes: two nodes have the id {node.id}")
        seen.add(node.id)
    starts = [node.id for node in nodes if node.kind is NodeType.START]
    if len(starts) != 1:
        found = f"there are {', '.join(starts[:10])}" if starts else "there is none"
        raise InvalidInput(f"{label}.nodes: exactly one node of the type start is needed, and {found}")


def _check_edges(label: str, edges: Iterable[Edge]) -> None:
    seen: set[tuple[str, str]] = set()
    ids: set[str] = set()
    for edge in edges:
        if (edge.source, edge.label) in seen:
            raise InvalidInput(f"{label}.edges: two edges of node {edge.source} have the label {_shown(edge.label)}")
        if edge.id in ids:
            raise InvalidInput(f"{label}.edges: two edges have the id {edge.id}")
        seen.add((edge.source, edge.label))
        ids.add(edge.id)


def faults_of(graph: Graph, *, further: Mapping[str, Iterable[str]] | None = None) -> list[str]:
    """Why a run of this graph could get lost: a text for each fault, which names its node. Empty when it may run.

    `further` has nodes to which a node leads beside its edges, by a policy.
    """
    faults = []
    if graph.following(graph.start.id) is None:
        faults.append(f"node {graph.start.id}: the start has no edge with the label next")
    for node in graph.nodes:
        faults += _faults_of_edges(graph, node)
    faults += _lost_targets(graph, further or {})
    reached = _reached(graph, further or {})
    faults += [f"node {node.id}: no path leads to it from the start" for node in graph.nodes if node.id not in reached]
    return faults


def _lost_targets(graph: Graph, further: Mapping[str, Iterable[str]]) -> list[str]:
    """Of nodes that are gone, what led from them is as well."""
    known = {node.id for node in graph.nodes}
    return [
        f"node {node_id}: its policy leads to {target}, which is not there"
        for node_id, targets in further.items()
        if node_id in known
        for target in targets
        if target not in known
    ]


def _faults_of_edges(graph: Graph, node: Node) -> list[str]:
    labels = [edge.label for edge in graph.edges_from(node.id)]
    if node.kind is not NodeType.DECIDE:
        return [
            f"node {node.id}: an edge has the label {_shown(name)}, and only next is followed"
            for name in labels
            if name != NEXT
        ]
    conditions = [condition["label"] for condition in node.config["conditions"]]
    return [
        *(f"node {node.id}: the edge {_shown(name)} has no condition" for name in labels if name not in conditions),
        *(f"node {node.id}: the condition {_shown(name)} has no edge" for name in conditions if name not in labels),
    ]


def _reached(graph: Graph, further: Mapping[str, Iterable[str]]) -> set[str]:
    targets: dict[str, list[str]] = {}
    for edge in graph.edges:
        targets.setdefault(edge.source, []).append(edge.target)
    reached, ahead = {graph.start.id}, [graph.start.id]
    while ahead:
        here = ahead.pop()
        for target in (*targets.get(here, ()), *further.get(here, ())):
            if target not in reached:
                reached.add(target)
                ahead.append(target)
    return reached


def with_configs(graph: Graph, changed: Callable[[Node], Mapping[str, Any]]) -> Graph:
    """The graph with other configs, such as ids in the place of names."""
    return replace(graph, nodes=tuple(replace(node, config=changed(node)) for node in graph.nodes))


def _shown(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…")
