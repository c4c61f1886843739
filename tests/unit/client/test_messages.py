"""What operations look like as HTTP, with the texts that are hard to send, and how replies and events are read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from isolet import client as api
from isolet.client.errors import error_of
from isolet.client.messages import Events, Request, request_of, value_of
from isolet.contract.functions import Functions, FunctionUpdate
from isolet.contract.kv import Kv
from isolet.contract.logs import CallEnd, LogEvent, Logs, Missed
from isolet.contract.operations import AnyOperation
from isolet.contract.projects import Projects, ProjectUpdate


def sent(operation: AnyOperation, *args: Any, **kwargs: Any) -> Request:
    return request_of(operation, operation.bind(*args, **kwargs))


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("plain", "plain"),
        ("a/b", "a%2Fb"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("...", "..."),
        ("a?b#c%2F", "a%3Fb%23c%252F"),
        ("line\nbreak\0", "line%0Abreak%00"),
        ("ключ", "%D0%BA%D0%BB%D1%8E%D1%87"),
        ("\ud800", "%ED%A0%80"),
    ],
)
def test_a_key_of_any_text_stays_one_segment(key: str, path: str) -> None:
    assert sent(Kv.delete, "shop", key).target == f"/isolet/v1/projects/shop/kv/{path}"


def test_what_is_not_given_is_not_sent() -> None:
    request = sent(Functions.list)
    assert (request.method, request.target, request.headers) == ("GET", "/isolet/v1/functions", {})
    assert request.content is None
    assert sent(Functions.list, project="a&b=\ud800", limit=7).target.endswith("?project=a%26b%3D%ED%A0%80&limit=7")


def test_a_body_has_the_members_that_were_set() -> None:
    request = sent(Projects.update, "shop", ProjectUpdate(name=None, limits={"functions": None}))
    assert json.loads(request.content) == {"name": None, "limits": {"functions": None}}  # type: ignore[arg-type]
    assert request.headers == {"content-type": "application/json"}
    odd = sent(Functions.update, "id", FunctionUpdate(description="\ud800")).content
    assert odd == b'{"description": "\\ud800"}'


def test_content_and_headers_go_where_the_operation_says() -> None:
    request = sent(Kv.put, "shop", "k", b"\xff", expiration_ttl=60, metadata='{"a":1}')
    assert (request.target, request.content) == ("/isolet/v1/projects/shop/kv/k?expiration_ttl=60", b"\xff")
    assert request.headers == {"x-kv-metadata": '{"a":1}'}


def test_json_of_any_alphabet_goes_into_a_header() -> None:
    given = '{"a": "日本🎈é\x7f",\r\n\t"half": "\ud800", "n": 1e5}'
    written = sent(Kv.put, "shop", "k", b"", metadata=given).headers["x-kv-metadata"]
    assert (written.isascii(), written.isprintable()) == (True, True)
    assert json.loads(written) == json.loads(given)


@pytest.mark.parametrize("metadata", ["é", "a\r\nx: y", "\0", '"a\n"'])
def test_a_text_that_no_header_holds_is_refused(metadata: str) -> None:
    with pytest.raises(api.ApiError, match=r"^x-kv-metadata cannot be sent"):
        sent(Kv.put, "shop", "k", b"", metadata=metadata)


def test_an_argument_that_the_operation_does_not_have_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        sent(Kv.delete, "shop", "k", unknown=1)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid_request", api.InvalidInput),
        (401, "unauthenticated", api.Unauthenticated),
        (403, "forbidden", api.Forbidden),
        (404, "not_found", api.NotFound),
        (405, "method_not_allowed", api.Refused),
        (409, "conflict", api.Conflict),
        (409, "not_deployed", api.NotDeployed),
        (413, "too_large", api.TooLarge),
        (422, "invalid_input", api.InvalidInput),
        (422, "limit_reached", api.LimitReached),
        (422, "build_failed", api.BuildFailed),
        (422, "deploy_failed", api.DeployFailed),
        (429, "too_many_requests", api.TooManyRequests),
        (502, "secrets_failed", api.ServerFailed),
        (503, "unavailable", api.ServerFailed),
        (422, "a_code_of_a_newer_server", api.InvalidInput),
    ],
)
def test_each_kind_of_error_has_a_class(status: int, code: str, kind: type[api.Refused]) -> None:
    content = json.dumps({"error": {"code": code, "message": "odd \ud800", "details": {"a": 1}}}).encode()
    error = error_of(status, {}, content)
    assert type(error) is kind
    assert isinstance(error, api.Refused)
    assert (error.status, error.code, error.text) == (status, code, "odd \ud800")
    assert (error.message, error.details) == (f"the server answered {status}: odd \ud800", {"a": 1})


@pytest.mark.parametrize(("header", "wanted"), [("7", 7), ("Wed, 21 Oct 2015 07:28:00 GMT", None), ("", None)])
def test_too_many_requests_say_when_to_come_again(header: str, wanted: int | None) -> None:
    content = b'{"error": {"code": "too_many_requests", "message": "m"}}'
    error = error_of(429, {"retry-after": header}, content)
    assert isinstance(error, api.TooManyRequests)
    assert error.retry_after_s == wanted


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"[]", b'{"error": "text"}', b"\xff", b"[" * 100_000, b"1" * 9_999]
)
@pytest.mark.parametrize("status", [200, 502])
def test_a_reply_of_something_else_is_unexpected(content: bytes, status: int) -> None:
    with pytest.raises(api.UnexpectedReply, match=rf"^the server answered {status}: "):
        value_of(Projects.get, status, {}, content)


def test_events_are_read_line_by_line() -> None:
    lines = [
        ": connected",
        "",
        "id: 1-2",
        "event: end",
        'data: {"function_id": "f", "function_name": "\\ud800", "invocation_id": "i", "level": "info", "at": "t",',
        "",
    ]
    end = {"function_id": "f", "function_name": "\ud800", "invocation_id": "i", "level": "info", "at": "t"}
    end |= {"status_code": 200, "duration_ms": 1.5, "error": None}  # type: ignore[dict-item]
    lines[4] = f"data: {json.dumps(end)}"
    lines += ["event: missed", 'data: {"count": 3}', "", "event: of a newer server", "data: {}", ""]
    events = Events(Logs.follow)
    assert [event for line in lines for event in events.feed(line)] == [
        LogEvent(id="1-2", data=CallEnd(**end)),  # type: ignore[arg-type]
        LogEvent(id=None, data=Missed(count=3)),
    ]
