import json
from collections.abc import Callable
from typing import Any

import pytest

from isolet.domain.chat import read_answer
from isolet.domain.flows.configs.checks import json_or_text
from isolet.domain.flows.executions import event_payload
from isolet.domain.flows.run_variables import check_variables
from isolet.domain.mcp_messages import answer_in
from isolet.domain.strict_json import VALUES_MAX, TooManyValues, read_bounded, read_json, read_writable
from isolet.errors import InvalidInput, Unanswered
from isolet.flows.functions import read_json as read_reply
from isolet.flows.performers.plain import typed


@pytest.mark.parametrize(
    "text", ["NaN", "[-Infinity]", '{"a": 1e999}', "-1e999", "", "{", "1" * 310, f"[-{'1' * 310}]"]
)
def test_what_no_other_reader_takes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_json(text)


def test_what_the_standard_has_is_read() -> None:
    assert read_json('{"a": [1.5, 1e308, -0.0, "NaN", null]}') == {"a": [1.5, 1e308, -0.0, "NaN", None]}
    assert read_json(b'"\\ud800"') == "\ud800"
    assert read_json("-" + "1" * 309) == -int("1" * 309)
    assert read_json('"' + "1" * 5_000 + '"') == "1" * 5_000


def written_below(calls: int, value: Any) -> str:
    return json.dumps([[[[[value]]]]]) if calls == 0 else written_below(calls - 1, value)


def test_what_is_read_to_be_written_elsewhere_can_be_at_every_depth() -> None:
    read = 0
    for depth in range(500, 1_000):
        try:
            value = read_writable("[" * depth + "]" * depth)
        except RecursionError:
            continue
        read += 1
        assert written_below(100, value)
    assert 0 < read < 500


def test_what_is_read_to_be_written_elsewhere_is_as_it_was() -> None:
    for value in ({"a": [1, {"b": [[], {}, "x", None, 1.5]}]}, [], {}, 7, "text", [[1], {"c": {"d": 2}}]):
        assert read_writable(json.dumps(value)) == value


def test_an_event_of_a_run_can_be_shown_at_every_depth() -> None:
    for depth in range(500, 1_000, 7):
        value: Any = []
        for _ in range(depth):
            value = [value]
        assert written_below(100, json.loads(event_payload({"value": value})))
    assert event_payload({"a": "isk_" + "k" * 43}) == '{"a":"[redacted]"}'
    assert event_payload({"a": [1, "\ud800"]}) == '{"a":[1,"\\ud800"]}'


MANY = {"a": [[]] * VALUES_MAX}


@pytest.mark.parametrize("end", ["", "}", "}}"])
def test_more_values_than_are_read_at_once_are_refused(end: str) -> None:
    text = json.dumps(MANY)[:-1] + end
    for data in (text, text.encode()):
        with pytest.raises(TooManyValues):
            read_bounded(data)


@pytest.mark.parametrize("value", [[0] * (VALUES_MAX - 2), [{}] * (VALUES_MAX - 20), {"\ud800,[{" * 70_000: 1}])
def test_what_has_fewer_is_read_whatever_stands_in_its_texts(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert read_bounded(text) == value
    assert read_bounded(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("read", "error"),
    [
        (lambda text: read_reply(text.encode()), InvalidInput),
        (lambda text: typed(text, "json"), InvalidInput),
        (lambda text: json_or_text("body", text), InvalidInput),
        (lambda text: check_variables(json.loads(text)), InvalidInput),
        (lambda text: read_answer(text.encode()), Unanswered),
        (lambda text: answer_in(text.encode(), 1), Unanswered),
    ],
    ids=["a reply", "a typed variable", "JSON as text", "variables", "a model's answer", "an MCP server's answer"],
)
def test_who_chose_them_is_told_of_too_many_values(read: Callable[[str], Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=f"more than {VALUES_MAX} values"):
        read(json.dumps(MANY))
