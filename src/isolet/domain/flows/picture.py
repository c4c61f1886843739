"""A workflow as a picture (SVG), with the path of a run when there is one.

All of it is presentation attributes: no style, script or link, so that it shows under a policy that allows none. It has
no background: every text is on a shape of its own, and the lines can be seen on light and dark.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct, field

from isolet.domain.flows.curves import Curve, curve_between
from isolet.domain.flows.graph import NEXT, Graph, Node
from isolet.domain.flows.layout import HEIGHT, WIDTH, Place, places_of
from isolet.domain.flows.nodes import SENDS, NodeType
from isolet.domain.flows.policies import Policy
from isolet.domain.flows.runs import StepStatus
from isolet.domain.flows.shown_text import attribute, element, shortened

_MARGIN = 24
_LINE, _TAKEN = "#7d8590", "#1f883d"
_PLAIN = "#57606a"
_FILLS: Mapping[NodeType, str] = {
    NodeType.START: "#424a53",
    NodeType.FUNCTION: "#0969da",
    NodeType.DECIDE: "#8250df",
    NodeType.AGENT: "#0f766e",
    NodeType.WAIT_FOR_RESPONSE: "#9a6700",
    NodeType.HANDOFF: "#a0440e",
    **dict.fromkeys(SENDS, "#1a7f37"),
}
_STATUS_FILLS = {
    StepStatus.RUNNING: "#0969da",
    StepStatus.SUCCEEDED: "#1a7f37",
    StepStatus.FAILED: "#cf222e",
    StepStatus.WAITING: "#9a6700",
    StepStatus.SKIPPED: "#6e5494",
}
_TITLE_UNITS, _NOTES_UNITS, _LABEL_UNITS = 22, 32, 22


class PathStep(Struct, frozen=True, kw_only=True):
    """A step of a run. `label` is that of the edge by which the run left the node; None when it is not known."""

    node_id: str
    status: StepStatus
    label: str | None = None


class Link(NamedTuple):
    """A line of the picture. An `on_error` line is one of a policy, and not an edge of the graph."""

    source: str
    target: str
    label: str
    on_error: bool = False


class _Path(Struct):
    """What a run visited: the last status and the count of visits by node, and the links that it took."""

    status: dict[str, StepStatus] = field(default_factory=dict)
    visits: dict[str, int] = field(default_factory=dict)
    links: set[Link] = field(default_factory=set)


def links_of(graph: Graph, policies: Mapping[str, Policy]) -> list[Link]:
    """The edges, then where policies lead after an error. Policies of nodes that are gone are left out."""
    known = {node.id for node in graph.nodes}
    return [Link(edge.source, edge.target, edge.label) for edge in graph.edges] + [
        Link(node_id, policy.go_to, "on error", on_error=True)
        for node_id, policy in policies.items()
        if node_id in known and policy.go_to in known
    ]


def draw(
    graph: Graph,
    *,
    title: str,
    policies: Mapping[str, Policy] | None = None,
    path: Sequence[PathStep] | None = None,
) -> str:
    """The SVG document. `path` has the steps of a run, oldest first; nodes that it has not visited are grey.

    The cost grows with nodes, links and steps: a tenth of a second for the largest graph.
    """
    links = links_of(graph, policies or {})
    places = places_of(graph, [(link.source, link.target) for link in links])
    walked = None if path is None else _walk(path, links)
    curves = _curves(links, places)
    left, top, width, height = _frame(places.values(), curves)
    lines, labels = _lines(links, curves, walked)
    return "".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" ',
            f'viewBox="{left} {top} {width} {height}" role="img" ',
            'font-family="system-ui, sans-serif" font-size="13">',
            element("title", title),
            f"<defs>{_arrow('line', _LINE, 7)}{_arrow('taken', _TAKEN, 4)}</defs>",
            *lines,
            *(_box(node, places[node.id], walked) for node in graph.nodes),
            *labels,
            "</svg>\n",
        ]
    )


def _walk(path: Sequence[PathStep], links: Iterable[Link]) -> _Path:
    walked = _Path()
    by_ends: dict[tuple[str, str], list[Link]] = {}
    for link in links:
        by_ends.setdefault((link.source, link.target), []).append(link)
    for step, following in zip(path, [*path[1:], None], strict=True):
        walked.status[step.node_id] = step.status
        walked.visits[step.node_id] = walked.visits.get(step.node_id, 0) + 1
        if following is not None:
            candidates = by_ends.get((step.node_id, following.node_id), [])
            walked.links.update(link for link in candidates if _left_by(step, link))
    return walked


def _left_by(step: PathStep, link: Link) -> bool:
    if step.label is not None:
        return link.label == step.label and not link.on_error
    return link.on_error == (step.status is StepStatus.FAILED)


def _arrow(name: str, colour: str, size: int) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="{size}" markerHeight="{size}" '
        f'orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="{colour}"/></marker>'
    )


def _frame(places: Iterable[Place], curves: Iterable[Curve]) -> tuple[int, int, int, int]:
    """Left, top, width and height of what is drawn: boxes, and curves, which stay within their handles."""
    points = [point for curve in curves for point in curve.points]
    for place in places:
        points += (place.x, place.y), (place.x + WIDTH, place.y + HEIGHT)
    left, top = min(x for x, _ in points) - _MARGIN, min(y for _, y in points) - _MARGIN
    return left, top, max(x for x, _ in points) + _MARGIN - left, max(y for _, y in points) + _MARGIN - top


def _curves(links: Iterable[Link], places: Mapping[str, Place]) -> list[Curve]:
    counts: dict[tuple[str, str], int] = {}
    curves = []
    for link in links:
        nth = counts[link.source, link.target] = counts.get((link.source, link.target), -1) + 1
        curves.append(curve_between(places[link.source], places[link.target], nth))
    return curves


def _lines(links: Sequence[Link], curves: Iterable[Curve], walked: _Path | None) -> tuple[list[str], list[str]]:
    """The lines and their labels. Those that a run took are drawn last, above the others."""
    plain: list[str] = []
    taken: list[str] = []
    labels: list[str] = []
    leaving = Counter(link.source for link in links)
    for link, curve in zip(links, curves, strict=True):
        was_taken = walked is not None and link in walked.links
        (taken if was_taken else plain).append(_line(link, curve, taken=was_taken))
        if link.label != NEXT or leaving[link.source] > 1:
            labels.append(_label(link, curve, taken=was_taken))
    return plain + taken, labels


def _line(link: Link, curve: Curve, *, taken: bool) -> str:
    (a, b), (c, d), (e, f), (g, h) = curve.points
    colour, width, arrow = (_TAKEN, 4, "taken") if taken else (_LINE, 2, "line")
    dashes = ' stroke-dasharray="6 5"' if link.on_error else ""
    return (
        f'<path d="M{a} {b}C{c} {d} {e} {f} {g} {h}" fill="none" stroke="{colour}" stroke-width="{width}"{dashes} '
        f'marker-end="url(#{arrow})"/>'
    )


def _label(link: Link, curve: Curve, *, taken: bool) -> str:
    x, y = curve.middle()
    text, units = shortened(link.label, _LABEL_UNITS)
    width = 14 + 7 * units
    return (
        f'<g><rect x="{x - width // 2}" y="{y - 10}" width="{width}" height="20" rx="10" '
        f'fill="{_TAKEN if taken else _PLAIN}"/>{element("title", link.label)}'
        f"{element('text', text, x=x, y=y + 4, **_TEXT)}</g>"
    )


_TEXT = {"fill": "#ffffff", "text_anchor": "middle"}


def _box(node: Node, place: Place, walked: _Path | None) -> str:
    status = None if walked is None else walked.status.get(node.id)
    fill = _fill(node, walked, status)
    notes = _notes(node, walked, status)
    title = node.display_name or node.id
    middle = place.x + WIDTH // 2
    ring = f' stroke="{_TAKEN if status is not StepStatus.FAILED else fill}" stroke-width="4"' if status else ""
    return (
        f"<g {attribute('id', f'node-{node.id}')}>{element('title', f'{title} ({node.id}): {notes}')}"
        f'{_shape(node.kind, place)} fill="{fill}"{ring}/>'
        f"{element('text', shortened(title, _TITLE_UNITS)[0], x=middle, y=place.y + 23, font_weight=600, **_TEXT)}"
        f"{element('text', shortened(notes, _NOTES_UNITS)[0], x=middle, y=place.y + 41, font_size=10, **_TEXT)}</g>"
    )


def _fill(node: Node, walked: _Path | None, status: StepStatus | None) -> str:
    if status is not None:
        return _STATUS_FILLS[status]
    return _FILLS.get(node.kind, _PLAIN) if walked is None else _PLAIN


def _notes(node: Node, walked: _Path | None, status: StepStatus | None) -> str:
    if walked is None or status is None:
        return node.kind.value
    visits = walked.visits[node.id]
    return f"{node.kind.value} · {status.value}{f' ×{visits}' if visits > 1 else ''}"


def _shape(kind: NodeType, place: Place) -> str:
    x, y = place.x, place.y
    if kind is NodeType.DECIDE:
        right, bottom, middle = x + WIDTH, y + HEIGHT, y + HEIGHT // 2
        return f'<path d="M{x} {middle}L{x + 14} {y}H{right - 14}L{right} {middle}L{right - 14} {bottom}H{x + 14}z"'
    radius = HEIGHT // 2 if kind is NodeType.START else 8
    return f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="{radius}"'
