import pytest

from isolet.wire.headers import get, to_caller, to_function

HOP_BY_HOP = [
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
]


def test_a_function_sees_its_callers_headers_in_their_order() -> None:
    headers = [
        (b"host", b"isolet.example"),
        (b"accept", b"text/html"),
        (b"cookie", b"a=1"),
        (b"accept", b"*/*"),
        (b"x-latin", b"caf\xe9"),
        (b"authorization", b"Bearer of-an-end-user"),
        (b"x-empty", b""),
    ]
    assert to_function(headers) == [name + b": " + value + b"\r\n" for name, value in headers]


@pytest.mark.parametrize("name", [*HOP_BY_HOP, b"content-length", b"expect", b"x-api-key"])
def test_some_headers_never_reach_a_function(name: bytes) -> None:
    assert to_function([(b"accept", b"*/*"), (name, b"1")]) == [b"accept: */*\r\n"]


@pytest.mark.parametrize(
    "name", [b"x-isolet-call", b"x-isolet-proto", b"x-isolet-error", b"x-isolet-", b"x-isolet-new"]
)
def test_nobody_can_send_our_own_headers(name: bytes) -> None:
    assert to_function([(name, b'{"id":"forged"}')]) == []


@pytest.mark.parametrize("name", [b"x-isolet", b"isolet-x", b"x-api-keys", b"content-type"])
def test_names_that_only_look_like_ours_pass(name: bytes) -> None:
    assert to_function([(name, b"1")]) == [name + b": 1\r\n"]


@pytest.mark.parametrize(
    "value", [b"x-one, X-Two", b"X-ONE,x-two", b"keep-alive,x-one , x-two", b"close, x-one,x-two,"]
)
def test_what_connection_names_goes_no_further(value: bytes) -> None:
    headers = [(b"x-one", b"1"), (b"connection", value), (b"x-two", b"2"), (b"x-three", b"3")]
    assert to_function(headers) == [b"x-three: 3\r\n"]


def test_every_connection_header_counts() -> None:
    headers = [(b"connection", b"x-one"), (b"connection", b"keep-alive"), (b"connection", b"x-two")]
    assert to_function([*headers, (b"x-one", b"1"), (b"x-two", b"2"), (b"x-three", b"3")]) == [b"x-three: 3\r\n"]


def test_a_connection_header_cannot_take_the_host_away() -> None:
    headers = [(b"host", b"isolet.example"), (b"connection", b"host, x-one"), (b"x-one", b"1")]
    assert to_function(headers) == [b"host: isolet.example\r\n"]


@pytest.mark.parametrize("value", [b"keep-alive", b"Keep-Alive", b"close", b""])
def test_an_everyday_connection_header_names_nothing(value: bytes) -> None:
    headers = [(b"connection", value), (b"close", b"a"), (b"accept", b"*/*")]
    assert to_function(headers) == [b"close: a\r\n", b"accept: */*\r\n"]


def test_a_caller_sees_the_functions_headers_and_the_calls_id() -> None:
    headers = [
        (b"content-type", b"text/plain"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"content-length", b"3"),
    ]
    assert to_caller(headers, "the-id") == [*headers, (b"x-invocation-id", b"the-id")]


@pytest.mark.parametrize(
    "name", [*HOP_BY_HOP, b"date", b"x-isolet-error", b"x-invocation-id", b"x-accel-redirect", b"x-sendfile"]
)
def test_some_headers_never_reach_a_caller(name: bytes) -> None:
    assert to_caller([(name, b"1")], "the-id") == [(b"x-invocation-id", b"the-id")]


def test_the_first_value_of_a_header_is_found() -> None:
    headers = [(b"accept", b"a"), (b"accept", b"b")]
    assert get(headers, b"accept") == b"a"
    assert get(headers, b"cookie") is None
