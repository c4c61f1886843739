"""A workflow as text that Mermaid draws."""

from __future__ import annotations

from collections.abc import Mapping

from isolet.domain.flows.graph import NEXT, Graph, Node
from isolet.domain.flows.nodes import NodeType
from isolet.domain.flows.picture import links_of
from isolet.domain.flows.policies import Policy
from isolet.domain.flows.shown_text import mermaid_text

_SHAPES = {NodeType.START: ("([", "])"), NodeType.DECIDE: ("{", "}")}


def mermaid(graph: Graph, policies: Mapping[str, Policy] | None = None) -> str:
    """A flow chart. Its nodes are numbered, since ids such as `end` are words of the language."""
    names = {node.id: f"n{number}" for number, node in enumerate(graph.nodes)}
    lines = ["flowchart LR", *(f"    {names[node.id]}{_box(node)}" for node in graph.nodes)]
    for link in links_of(graph, policies or {}):
        arrow = "-.->" if link.on_error else "-->"
        label = "" if link.label == NEXT else f"|{mermaid_text(link.label)}|"
        lines.append(f"    {names[link.source]} {arrow}{label} {names[link.target]}")
    return "\n".join(lines) + "\n"


def _box(node: Node) -> str:
    opening, closing = _SHAPES.get(node.kind, ("[", "]"))
    return f"{opening}{mermaid_text(_text(node))}{closing}"


def _text(node: Node) -> str:
    name = node.display_name or node.id
    return name if name == node.kind.value else f"{name} ({node.kind.value})"
