"""Where the nodes of a workflow are drawn: where its author put them, or in layers where that cannot be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from isolet.domain.flows.graph import Graph

WIDTH, HEIGHT = 180, 54
_GAP_X, _GAP_Y = 150, 46
# Nodes further apart than this, on average, are specks in a picture of them all.
_SPREAD_PER_NODE = 600
_SPREAD_LEAST = 4_000
_SWEEPS = 4


class Place(Struct, frozen=True):
    """The left upper corner of a node's box, in units of the picture, from 0."""

    x: int
    y: int


def places_of(graph: Graph, links: Sequence[tuple[str, str]]) -> dict[str, Place]:
    """The place of each node by id. `links` are pairs of node ids: what the layers follow.

    The cost grows with nodes and links only.
    """
    chosen = _chosen(graph)
    return _layered(graph, links) if chosen is None else chosen


def _chosen(graph: Graph) -> dict[str, Place] | None:
    """The positions of the nodes; None when one has none, two overlap, or they are too far apart."""
    positions = {node.id: node.position for node in graph.nodes if node.position is not None}
    if len(positions) < len(graph.nodes):
        return None
    left = min(x for x, _ in positions.values())
    top = min(y for _, y in positions.values())
    places = {node_id: Place(round(x - left), round(y - top)) for node_id, (x, y) in positions.items()}
    widest = max(max(place.x, place.y) for place in places.values())
    if widest > max(_SPREAD_LEAST, _SPREAD_PER_NODE * len(places)) or _overlap(places.values()):
        return None
    return places


def _overlap(places: Iterable[Place]) -> bool:
    cells: dict[tuple[int, int], Place] = {}
    for place in places:
        column, row = place.x // WIDTH, place.y // HEIGHT
        for dx in (-1, 0, 1):
            for dy in (-1, 0, 1):
                other = cells.get((column + dx, row + dy))
                if other is not None and abs(other.x - place.x) < WIDTH and abs(other.y - place.y) < HEIGHT:
                    return True
        cells[column, row] = place
    return False


def _layered(graph: Graph, links: Sequence[tuple[str, str]]) -> dict[str, Place]:
    targets: dict[str, list[str]] = {node.id: [] for node in graph.nodes}
    for source, target in dict.fromkeys(links):
        targets[source].append(target)
    order, back = _depth_first([graph.start.id, *targets], targets)
    forward = {source: [target for target in ends if (source, target) not in back] for source, ends in targets.items()}
    layers = _layers(order, forward)
    _untangle(layers, forward)
    tallest = max(len(layer) for layer in layers)
    return {
        node_id: Place(
            column * (WIDTH + _GAP_X), round((tallest - len(layer)) * (HEIGHT + _GAP_Y) / 2) + row * (HEIGHT + _GAP_Y)
        )
        for column, layer in enumerate(layers)
        for row, node_id in enumerate(layer)
    }


def _depth_first(roots: Sequence[str], targets: Mapping[str, Sequence[str]]) -> tuple[list[str], set[tuple[str, str]]]:
    """Node ids, each before those that it leads to, and the links that lead back, which do not count for that."""
    done: list[str] = []
    back: set[tuple[str, str]] = set()
    open_, seen = set[str](), set[str]()
    for root in roots:
        stack = [(root, iter(targets[root]))] if root not in seen else []
        seen.add(root)
        open_.add(root)
        while stack:
            here, ahead = stack[-1]
            for target in ahead:
                if target in open_:
                    back.add((here, target))
                elif target not in seen:
                    seen.add(target)
                    open_.add(target)
                    stack.append((target, iter(targets[target])))
                    break
            else:
                stack.pop()
                open_.discard(here)
                done.append(here)
    return done[::-1], back


def _layers(order: Sequence[str], forward: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Each node one layer behind the furthest that leads to it."""
    depth = dict.fromkeys(order, 0)
    for node_id in order:
        for target in forward[node_id]:
            depth[target] = max(depth[target], depth[node_id] + 1)
    layers: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for node_id in order:
        layers[depth[node_id]].append(node_id)
    return layers


def _untangle(layers: list[list[str]], forward: Mapping[str, Sequence[str]]) -> None:
    """Sorts each layer by where its neighbours are, in a few sweeps from left to right."""
    sources: dict[str, list[str]] = {}
    for source, ends in forward.items():
        for target in ends:
            sources.setdefault(target, []).append(source)
    rows = {node_id: float(row) for layer in layers for row, node_id in enumerate(layer)}
    for sweep in range(_SWEEPS):
        neighbours = sources if sweep % 2 == 0 else forward
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            middles = {node_id: _middle(neighbours.get(node_id, ()), rows, rows[node_id]) for node_id in layer}
            layer.sort(key=middles.__getitem__)
            rows.update((node_id, float(row)) for row, node_id in enumerate(layer))


def _middle(neighbours: Sequence[str], rows: Mapping[str, float], alone: float) -> float:
    return sum(rows[one] for one in neighbours) / len(neighbours) if neighbours else alone
