"""What runs began with: a graph with its policies, which they keep whatever becomes of their workflow."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from isolet.domain.flows.graph import Graph, read_graph
from isolet.domain.flows.policies import DEFAULT, Policy, read_policies
from isolet.domain.flows.run_variables import dump
from isolet.ids import ProjectId, new_id

_KEPT_BYTES = 4 * 1_048_576
_ENV = "${ENV:"
_LARGE_CHARS = 8_192


class Snapshot(Struct, frozen=True, kw_only=True):
    """`uses_env` are the nodes whose settings name variables of the project, `large` those whose settings are long."""

    id: str
    graph: Graph
    policies: Mapping[str, Policy]
    uses_env: frozenset[str]
    large: frozenset[str]
    size_bytes: int

    def policy(self, node_id: str) -> Policy:
        return self.policies.get(node_id, DEFAULT)


def snapshot_text(graph: Graph, policies: Mapping[str, Any]) -> str:
    """`policies` as their owner wrote them."""
    return dump({"graph": graph.to_json(), "policies": policies})


def snapshot_id(project_id: ProjectId, text: str) -> str:
    return hashlib.sha256(f"{project_id} {text}".encode()).hexdigest()


def read_snapshot(graph_id: str, text: str) -> Snapshot:
    """It takes a while for large ones, so not on the event loop."""
    value = json.loads(text)
    graph = read_graph(value["graph"], new_id)
    configs = {node.id: dump(node.config) for node in graph.nodes}
    return Snapshot(
        id=graph_id,
        graph=graph,
        policies=read_policies(value["policies"]),
        uses_env=frozenset(name for name, config in configs.items() if _ENV in config),
        large=frozenset(name for name, config in configs.items() if len(config) > _LARGE_CHARS),
        size_bytes=len(text),
    )


class Snapshots:
    """The ones that were used last, within some megabytes of text."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Snapshot] = OrderedDict()
        self._size = 0

    @property
    def known(self) -> frozenset[str]:
        return frozenset(self._kept)

    def get(self, graph_id: str) -> Snapshot | None:
        found = self._kept.get(graph_id)
        if found is not None:
            self._kept.move_to_end(graph_id)
        return found

    def put(self, snapshot: Snapshot) -> Snapshot:
        if snapshot.id not in self._kept:
            self._kept[snapshot.id] = snapshot
            self._size += snapshot.size_bytes
        while self._size > _KEPT_BYTES and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._size -= dropped.size_bytes
        return snapshot
