from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any
from xml.etree import ElementTree

import pytest

from isolet.domain.flows.graph import EDGES_MAX, NODES_MAX, Graph, read_graph
from isolet.domain.flows.layout import HEIGHT, WIDTH, Place, places_of
from isolet.domain.flows.mermaid import mermaid
from isolet.domain.flows.picture import PathStep, draw
from isolet.domain.flows.policies import read_policies
from isolet.domain.flows.runs import StepStatus
from tests.unit.domain.flows.test_graph import FUNCTION, edge, node

SVG = "{http://www.w3.org/2000/svg}"
_ALLOWED_ELEMENTS = {"svg", "title", "defs", "marker", "path", "g", "rect", "text"}


def _decide(node_id: str, *labels: str) -> dict[str, Any]:
    conditions = [{"label": label} for label in labels]
    return node(node_id, "decide", decision_type="function", function_id=FUNCTION, conditions=conditions)


def _graph(
    nodes: Sequence[dict[str, Any]],
    edges: Iterable[dict[str, Any]],
    positions: Iterable[tuple[float, float]] | None = None,
) -> Graph:
    everything = [node("start", "start"), *nodes]
    for one, position in zip(everything, positions or (), strict=False):
        one["position"] = {"x": position[0], "y": position[1]}
    numbers = itertools.count(1)
    definition = {"nodes": everything, "edges": list(edges)}
    return read_graph(definition, lambda: f"00000000-0000-7000-8000-{next(numbers):012}")


def _shop(positions: Iterable[tuple[float, float]] | None = None) -> Graph:
    return _graph(
        [
            _decide("tier", "vip", "other"),
            node("gift", "set_variable", variable_name="gift", variable_value=1),
            node("bye", "handoff"),
            node("sorry", "emit_event", event_name="order.failed"),
        ],
        [edge("start", "tier"), edge("tier", "gift", "vip"), edge("tier", "bye", "other")],
        positions,
    )


def _places(graph: Graph) -> dict[str, Place]:
    return places_of(graph, [(one.source, one.target) for one in graph.edges])


def _document(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)  # noqa: S314 - what the program itself wrote


def _boxes(svg: str) -> dict[str, list[str]]:
    """The texts of the boxes by node id: a title for a pointer, the name, the note."""
    return {
        group.attrib["id"].removeprefix("node-"): [one.text or "" for one in group if one.tag != f"{SVG}rect"]
        for group in _document(svg).iter(f"{SVG}g")
        if "id" in group.attrib
    }


def _overlapping(places: Iterable[Place]) -> bool:
    return any(
        abs(one.x - other.x) < WIDTH and abs(one.y - other.y) < HEIGHT
        for one, other in itertools.combinations(places, 2)
    )


def test_nodes_are_drawn_where_their_author_put_them():
    places = _places(_shop([(-100, 0), (140, 10.4), (380, -200), (380, 200), (700, 700)]))

    assert places["start"] == Place(0, 200)
    assert places["tier"] == Place(240, 210)
    assert places["gift"] == Place(480, 0)


@pytest.mark.parametrize(
    "positions",
    [
        None,
        [(0, 0), (240, 0), (240, HEIGHT - 1), (480, 0), (720, 0)],
        [(0, 0), (240, 0), (480, 0), (720, 0), (1_000_000, 0)],
    ],
    ids=["all at one place", "two overlap", "one is a world away"],
)
def test_nodes_that_could_not_be_read_are_laid_out_in_layers(positions: Any):
    places = _places(_shop(positions))

    assert places["start"].x < places["tier"].x < places["gift"].x == places["bye"].x
    assert not _overlapping(places.values())


def test_a_cycle_is_laid_out_from_the_start_on():
    graph = _graph(
        [node(name, "handoff") for name in "abc"],
        [edge("start", "a"), edge("a", "b"), edge("b", "c"), edge("c", "a"), edge("c", "c", "again")],
    )

    places = _places(graph)

    assert places["start"].x < places["a"].x < places["b"].x < places["c"].x


def test_a_picture_has_the_name_and_type_of_each_node_and_the_labels_of_choices():
    svg = draw(_shop(), title="Orders")

    boxes = _boxes(svg)
    texts = [text.text for text in _document(svg).iter(f"{SVG}text")]
    assert list(boxes) == ["start", "tier", "gift", "bye", "sorry"]
    assert boxes["gift"][-2:] == ["gift", "set_variable"]
    assert {"vip", "other"} <= set(texts)
    assert "next" not in texts


def test_the_path_of_a_run_is_highlighted():
    steps = [
        PathStep(node_id="start", status=StepStatus.SUCCEEDED),
        PathStep(node_id="tier", status=StepStatus.SUCCEEDED, label="vip"),
        PathStep(node_id="gift", status=StepStatus.FAILED),
    ]
    policies = read_policies({"gift": {"on_error": {"go_to": "sorry"}}})

    svg = draw(_shop(), title="Orders", path=steps, policies=policies)

    boxes = _boxes(svg)
    assert boxes["tier"][-1] == "decide · succeeded"
    assert boxes["gift"][-1] == "set_variable · failed"
    assert boxes["bye"][-1] == "handoff"
    assert svg.count('marker-end="url(#taken)"') == 2
    assert svg.count('marker-end="url(#line)"') == 2
    failed_over = [*steps, PathStep(node_id="sorry", status=StepStatus.SUCCEEDED)]
    again = draw(_shop(), title="Orders", path=failed_over, policies=policies)
    assert again.count('marker-end="url(#taken)"') == 3
    assert re.search(r'stroke-dasharray="6 5" marker-end="url\(#taken\)"', again)


def test_a_node_that_was_visited_again_says_how_often():
    path = [PathStep(node_id="tier", status=StepStatus.SUCCEEDED)] * 3

    assert _boxes(draw(_shop(), title="Orders", path=path))["tier"][-1] == "decide · succeeded ×3"


def test_a_step_at_a_node_that_the_graph_does_not_have_is_left_out():
    path = [PathStep(node_id="gone", status=StepStatus.SUCCEEDED), PathStep(node_id="start", status=StepStatus.RUNNING)]

    assert _boxes(draw(_shop(), title="Orders", path=path))["start"][-1] == "start · running"


_HOSTILE = "</text><script>alert(1)</script>\"' onload=x <![CDATA[ &amp; &#0; \x00\x1b\ud800\u202e\r\nend"


def test_texts_of_the_author_stay_texts():
    graph = _graph([_decide("tier", _HOSTILE)], [edge("start", "tier"), edge("tier", "start", _HOSTILE)])
    graph.nodes[1].config["conditions"][0]["description"] = _HOSTILE
    named = read_graph(
        {
            "nodes": [
                {"id": one.id, "data": {"node_type": one.kind, "config": one.config, "display_name": _HOSTILE}}
                for one in graph.nodes
            ],
            "edges": [one.to_json() for one in graph.edges],
        },
        lambda: FUNCTION,
    )

    svg = draw(named, title=_HOSTILE, path=[PathStep(node_id="tier", status=StepStatus.RUNNING)])

    svg.encode()
    document = _document(svg)
    assert {one.tag.removeprefix(SVG) for one in document.iter()} <= _ALLOWED_ELEMENTS
    for one in document.iter():
        assert not {name for name in one.attrib if name.startswith("on") or name in ("style", "href", "class")}
    assert "script>alert(1)" in (document[0].text or "")


def test_long_names_end_within_their_box_and_marks_do_not_pile_up():
    wide, zalgo = "お" * 200, "z" + "\u0351" * 200
    graph = read_graph(
        {
            "nodes": [
                {"id": "start", "data": {"node_type": "start", "config": {}, "display_name": wide}},
                {"id": "b", "data": {"node_type": "handoff", "config": {}, "display_name": zalgo}},
            ],
            "edges": [],
        },
        lambda: FUNCTION,
    )

    boxes = _boxes(draw(graph, title="x"))

    assert boxes["start"][-2] == "お" * 10 + "…"
    assert boxes["b"][-2] == "z" + "\u0351" * 3
    assert wide in boxes["start"][0]


def test_the_largest_graphs_are_drawn_within_bounds():
    names = [f"n{number}" for number in range(NODES_MAX - 1)]
    labels = [f"{'&' * 40}{number}" for number in range(5)]
    edges = [edge("start", "n0")] + [
        edge(name, names[(number * 7 + step * 31) % len(names)], labels[step])
        for number, name in enumerate(names)
        for step in range(5)
    ]
    tangle = _graph([_decide(name, *labels) for name in names], edges[:EDGES_MAX])
    line = _graph(
        [_decide(name, *labels) for name in names],
        [edge("start", "n0"), *(edge(one, other, labels[0]) for one, other in itertools.pairwise(names))],
    )

    for graph in (tangle, line):
        svg = draw(graph, title="x", path=[PathStep(node_id=name, status=StepStatus.SUCCEEDED) for name in names * 2])

        assert len(_boxes(svg)) == NODES_MAX
        assert len(svg) < 2_000_000
        assert len(mermaid(graph)) < 1_000_000


def test_mermaid_has_the_graph_as_text():
    graph = _shop()

    text = mermaid(graph, read_policies({"gift": {"on_error": {"go_to": "sorry"}}, "gone": {}}))

    assert text.splitlines() == [
        "flowchart LR",
        '    n0(["start"])',
        '    n1{"tier (decide)"}',
        '    n2["gift (set_variable)"]',
        '    n3["bye (handoff)"]',
        '    n4["sorry (emit_event)"]',
        "    n0 --> n1",
        '    n1 -->|"vip"| n2',
        '    n1 -->|"other"| n3',
        '    n2 -.->|"on error"| n4',
    ]


def test_mermaid_gets_no_words_of_its_language_from_an_author():
    graph = _graph(
        [_decide("end", 'a"] --> n0\nclick n0 href "javascript:alert(1)" %%{init: {}}%% `x` ;#\ud800')],
        [edge("start", "end")],
    )
    hostile = graph.nodes[1].config["conditions"][0]["label"]
    whole = _graph([_decide("end", hostile)], [edge("start", "end"), edge("end", "end", hostile)])

    text = mermaid(whole)

    text.encode()
    last = text.splitlines()[-1]
    assert len(text.splitlines()) == 5
    assert re.fullmatch(r"    n1 -->\|\"[^\"]*\"\| n1", last)
    assert not set("`%{}[]<>&;") & set(re.sub(r"#\d+;|-->", "", last))
