from __future__ import annotations

from typing import Any

import pytest

from isolet.domain.flows.templates import RENDERED_MAX_CHARS, Rendering
from isolet.errors import InvalidInput

SPACES = {
    "vars": {
        "name": "Ada",
        "tier": "VIP",
        "n": 3,
        "half": 0.5,
        "yes": True,
        "nothing": None,
        "order": {"items": [{"sku": "a"}, {"sku": "b"}]},
        "sly": "{{vars.name}} ${ENV:KEY}",
        "last_user_input": "hi",
    },
    "system": {"flow_id": "f-1"},
    "context": {"channel": "api"},
    "metadata": {},
}
ENV = {"KEY": "s3cret", "SLY": "{{vars.name}}"}


def _rendering() -> Rendering:
    return Rendering(SPACES, ENV)


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("Hello {{vars.name}}!", "Hello Ada!"),
        ("{{ vars.name }} on {{context.channel}} in {{system.flow_id}}", "Ada on api in f-1"),
        ("{{last_user_input}}", "hi"),
        ("{{vars.n}}", 3),
        (" {{vars.yes}} ", True),
        ("{{vars.nothing}}", None),
        ("{{vars.order}}", {"items": [{"sku": "a"}, {"sku": "b"}]}),
        ("{{vars.order.items.1.sku}}", "b"),
        ("n={{vars.n}} half={{vars.half}} yes={{vars.yes}} nothing={{vars.nothing}}", "n=3 half=0.5 yes=true nothing="),
        ("order: {{vars.order}}", 'order: {"items":[{"sku":"a"},{"sku":"b"}]}'),
        ("key ${ENV:KEY}", "key s3cret"),
        ("${ENV:KEY}", "s3cret"),
        ("{{vars.sly}}.", "{{vars.name}} ${ENV:KEY}."),
        ("${ENV:SLY}.", "{{vars.name}}."),
        (r"\{{vars.name}} and \${ENV:KEY}", "{{vars.name}} and ${ENV:KEY}"),
        (r"\{{vars.name}}", "{{vars.name}}"),
        ("{{ not a path }} {{}} {{ {vars.name} }}", "{{ not a path }} {{}} {{ {vars.name} }}"),
        ("no template", "no template"),
        ("", ""),
        (5, 5),
        ({"a": ["{{vars.n}}", {"{{vars.name}}": "x{{vars.n}}"}]}, {"a": [3, {"{{vars.name}}": "x3"}]}),
    ],
)
def test_templates_are_replaced(text: Any, rendered: Any) -> None:
    rendering = _rendering()
    assert rendering.value(text) == rendered
    assert rendering.missing == []


@pytest.mark.parametrize(
    "path",
    [
        "vars.unknown",
        "vars.name.length",
        "vars.order.items.2",
        "vars.order.items.-1",
        "vars.order.items.٣",
        "vars.__class__",
        "vars.order.__len__",
        "vars..name",
        "system.flow_id.upper()",
        "unknown",
    ],
)
def test_a_template_that_points_nowhere_is_reported(path: str) -> None:
    rendering = _rendering()
    assert rendering.value(f"{{{{{path}}}}}") is None
    assert rendering.value(f"<{{{{{path}}}}}>") == "<>"
    assert rendering.missing == [f"{{{{{path}}}}}"] * 2


def test_an_unknown_name_of_the_environment_is_reported() -> None:
    rendering = _rendering()
    assert rendering.text("a${ENV:NONE}b") == "ab"
    assert rendering.missing == ["${ENV:NONE}"]


def test_what_one_step_renders_is_bounded() -> None:
    rendering = Rendering({**SPACES, "vars": {"long": "x" * 1024}}, {})
    with pytest.raises(InvalidInput, match=str(RENDERED_MAX_CHARS)):
        rendering.value(["{{vars.long}}." * 512] * 3)


def test_many_open_braces_take_no_time_that_grows_with_their_square() -> None:
    text = "{{ " * 100_000 + "{{" + " " * 300_000
    assert _rendering().text(text) == text


@pytest.mark.parametrize("before", [0, 1, 65_530, 65_535, 65_536, 131_000, 200_000])
@pytest.mark.parametrize("template", ["{{vars.a}}", "${ENV:NAME}", "\\{{", "{{ " + "long." * 100 + "x }}"])
def test_a_template_is_found_wherever_it_stands_in_a_long_text(before: int, template: str) -> None:
    rendering = Rendering(spaces={**SPACES, "vars": {"a": "value"}}, env={"NAME": "value"})
    expected = {"\\": "{{", "{{ l": ""}.get(template[:1] if template[0] == "\\" else template[:4], "value")
    assert rendering.text("-" * before + template + "-") == "-" * before + expected + "-"


def test_large_values_may_be_named_once_but_not_again_and_again() -> None:
    rendering = Rendering(spaces={**SPACES, "vars": {"big": {"x": "x" * 600_000}}}, env={})
    assert rendering.value(["{{vars.big}}"]) == [{"x": "x" * 600_000}]
    with pytest.raises(InvalidInput, match="more than 1048576 characters"):
        rendering.value(["{{vars.big}}"] * 10_000)


def test_only_the_first_templates_that_point_nowhere_are_kept() -> None:
    rendering = Rendering(spaces=SPACES, env={})
    assert rendering.text("{{vars.nowhere}}" * 10_000) == ""
    assert rendering.missing == ["{{vars.nowhere}}"] * 100
