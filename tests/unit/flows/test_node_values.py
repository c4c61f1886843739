"""What nodes make of their settings: types of variables, answers, addresses, headers and bodies."""

from __future__ import annotations

from typing import Any

import pytest

from isolet.errors import InvalidInput
from isolet.flows.functions import read_json
from isolet.flows.performers.plain import input_of, typed
from isolet.flows.performers.webhook import address_of, body_of, headers_of


@pytest.mark.parametrize(
    ("value", "value_type", "expected"),
    [
        (5, None, 5),
        (5, "string", "5"),
        ({"a": 1}, "string", '{"a":1}'),
        (" 42 ", "number", 42),
        ("1.5", "number", 1.5),
        ("yes", "boolean", True),
        ("", "boolean", False),
        ('{"a": [1]}', "json", {"a": [1]}),
        ([1], "json", [1]),
    ],
)
def test_a_variable_gets_the_type_that_was_asked_for(value: Any, value_type: str | None, expected: Any) -> None:
    made = typed(value, value_type)
    assert (made, type(made)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("value", "value_type"),
    [
        ("five", "number"),
        ("NaN", "number"),
        ("1e999", "number"),
        ("9" * 5_000, "number"),
        ("perhaps", "boolean"),
        ("{", "json"),
        ("[NaN]", "json"),
        ('{"a": 1e999}', "json"),
        ("[" * 100_000, "json"),
    ],
)
def test_what_cannot_be_of_that_type_is_refused(value: Any, value_type: str) -> None:
    with pytest.raises(InvalidInput, match=f"is no {value_type}"):
        typed(value, value_type)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"kind": "payload", "data": {"button_id": "yes"}}, {"button_id": "yes"}),
        ({"kind": "message", "data": {"text": "hi"}}, "hi"),
        ({"kind": "payload", "data": [1, None]}, [1, None]),
        ({"kind": "payload"}, None),
    ],
)
def test_an_answer_is_kept_as_it_came(message: Any, expected: Any) -> None:
    assert input_of(message) == expected


def test_the_address_of_a_webhook_is_ascii() -> None:
    assert address_of(" https://a.example/é \ud800?q=a b#part") == "https://a.example/%C3%A9%20%EF%BF%BD?q=a%20b"
    for bad in (
        "",
        "ftp://a.example",
        "https://",
        "https://a.example:0/",
        "//a",
        "https://a:x/",
        "https://" + "a" * 9_000,
    ):
        with pytest.raises(InvalidInput, match="no http or https address"):
            address_of(bad)


def test_headers_that_belong_to_the_connection_are_not_sent() -> None:
    assert headers_of({"X-One": 1, "Host": "x", "Transfer-Encoding": "chunked"}) == [("x-one", "1")]
    with pytest.raises(InvalidInput, match="must be an object"):
        headers_of("{{vars.headers}}")


def test_a_body_is_text_or_json() -> None:
    assert body_of(None) == (b"", "")
    assert body_of({"a": "\ud800"}) == (b'{"a":"\\ud800"}', "application/json")
    assert body_of(' {"a": 1}') == (b' {"a": 1}', "application/json")
    assert body_of("hi \ud800") == (b"hi ?", "text/plain; charset=utf-8")


def test_replies_are_json_or_text() -> None:
    assert read_json(b' {"vars": {}} ') == {"vars": {}}
    assert (read_json(b""), read_json(b"<p>\xff")) == (None, "<p>\ufffd")
    for text in (b"[NaN]", b"[1e999]", b"[" * 100_000):
        assert read_json(text) == text.decode()
