"""Input that no honest client sends: a clear 4xx in the dialect's shape, or a closed connection, and life goes on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from itertools import chain
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.kapso import Kapso, error_of
from tests.support.raw import RawReply, send_raw
from tests.support.server import ROOT_KEY, Server
from tests.support.waiting import wait_until

SHOW_URL = "async function handler(request) { return new Response(request.url); }"
ECHO = "async function handler(request) { return new Response(await request.text()); }"
MB = 1024 * 1024
FUNCTIONS = "/platform/v1/functions"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes one megabyte."""
    with Server(tmp_path_factory.mktemp("small") / "data", max_body_mb=1) as server:
        yield server


@pytest.fixture(scope="module")
def client(small: Server) -> Iterator[httpx.Client]:
    with small.client() as client:
        yield client


@pytest.fixture(scope="module")
def echo(client: httpx.Client) -> str:
    """A deployed function that anybody may call."""
    return Kapso(client).deployed(ECHO, public_endpoint=True)


@pytest.fixture(autouse=True)
def _still_serves(small: Server, echo: str, client: httpx.Client) -> Iterator[None]:
    """Whatever a test did, the server is the same process and answers."""
    yield
    assert small.process.poll() is None
    assert Kapso(client).invoke(echo, {"still": "here"}).json() == {"still": "here"}


def request(path: str, *headers: bytes, body: bytes = b"", method: bytes = b"POST") -> bytes:
    lines = [b"%b %b HTTP/1.1" % (method, path.encode()), b"Host: test", b"X-API-Key: " + ROOT_KEY.encode(), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def assert_refused(reply: RawReply, *statuses: int) -> None:
    """One reply, with one of the statuses, in Kapso's shape; the connection is closed."""
    assert reply.replies == 1, reply.raw
    assert reply.status in (statuses or (400,)), reply.raw
    assert isinstance(reply.body["error"], str)


# JSON that is wrong.


@pytest.mark.parametrize("base", ["/platform/v1", "/api/v1"])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"   ", 422),
        (b"{", 400),
        (b'{"function": }', 400),
        (b"\xff\xfe{}", 400),
        (b'{"function": {"name": "\xc3\x28", "code": "x"}}', 400),
        (b"\xef\xbb\xbf{}", 400),
        (b'{"function": {"name": NaN}}', 400),
        (b"[" * 100_000, 400),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 400),
        (b'{"function": {"name": "x", "code": 1e999}}', 400),
        (b'{"function": {"name": "x", "code": ' + b"9" * 5_000 + b"}}", 400),
        (b"null", 422),
        (b"[]", 422),
        (b'"function"', 422),
        (b'{"function": [1, 2]}', 422),
        (b'{"function": {}}', 422),
        (b'{"function": {"name": "x", "code": "x", "function_type": "python"}}', 422),
        (b'{"function": {"name": "x", "code": "\\u0000"}}', 422),
        (b'{"function": {"name": "x", "code": "\\udc00"}}', 422),
    ],
)
def test_a_creation_that_makes_no_sense_is_refused(client: httpx.Client, base: str, body: bytes, status: int) -> None:
    reply = client.post(f"{base}/functions", content=body)

    assert reply.status_code == status
    assert error_of(reply)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = (
    "name",
    "slug",
    "code",
    "description",
    "public_endpoint",
    "runtime_config",
    "invoke_response_mode",
    "function_type",
    "lock_version",
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(function=st.dictionaries(st.sampled_from(MEMBERS), JSON))
def test_no_values_of_a_function_make_the_server_fail(
    client: httpx.Client, echo: str, function: dict[str, Any]
) -> None:
    created = client.post(FUNCTIONS, json={"function": {"name": "Fuzz", "code": "x", **function}})
    updated = client.patch(f"{FUNCTIONS}/{echo}", json={"function": {**function, "lock_version": 10**9}})

    assert created.status_code in (201, 422), created.text
    assert updated.status_code in (409, 422), updated.text
    if created.status_code == 201:
        assert client.delete(f"{FUNCTIONS}/{created.json()['data']['id']}").status_code == 204
    else:
        assert error_of(created)


# Ids that are wrong.


@pytest.mark.parametrize(
    "function_id",
    [
        "0b8f6a52-7c1e-4d3a-9f60-5e2d7c4b1a98",  # Of no function.
        "1",
        "not-a-uuid",
        "%2e%2e",
        "%00",
        "%ff",
        "a" * 5_000,
        "%F0%9F%8E%88",
        "' OR 1=1 --",
        "{function_id}",
    ],
)
def test_an_id_that_is_none_is_404_on_every_route(client: httpx.Client, function_id: str) -> None:
    path = f"{FUNCTIONS}/{function_id}"
    replies = [
        client.get(path),
        client.patch(path, json={"function": {"name": "x"}}),
        client.delete(path),
        client.post(f"{path}/deploy"),
        client.get(f"{path}/invocations"),
        client.post(f"{path}/invoke", json={}),
    ]

    assert {reply.status_code for reply in replies} <= {404, 405}
    assert all(error_of(reply) for reply in replies)


# Bodies that are too large.


def endless(total: int) -> Iterator[bytes]:
    """A chunked body of `total` bytes, in parts."""
    part = b"x" * 65_536
    for _ in range(total // len(part)):
        yield b"%x\r\n%b\r\n" % (len(part), part)
    yield b"0\r\n\r\n"


@pytest.mark.parametrize("value", [True, "5000", 5000.0, [5000]])
def test_a_limit_that_is_no_whole_number_is_refused(client: httpx.Client, echo: str, value: object) -> None:
    reply = client.patch(f"/isolet/v1/functions/{echo}", json={"timeout_ms": value})
    assert reply.status_code == 422
    assert "timeout_ms" in reply.json()["error"]["message"]


def test_a_body_over_the_limit_is_413(client: httpx.Client, echo: str) -> None:
    fits, over = b'"' + b"x" * (MB - 2) + b'"', b'"' + b"x" * (MB - 1) + b'"'

    replies = [client.post(f"{FUNCTIONS}/{echo}/invoke", content=body) for body in (fits, over)]
    managed = client.post(FUNCTIONS, content=over)

    assert [reply.status_code for reply in replies] == [200, 413]
    assert (replies[1].json(), managed.json()) == ({"error": "Request body is larger than 1 MB"},) * 2
    assert managed.status_code == 413
    assert "x-invocation-id" not in replies[1].headers


BODIES = [
    (b"POST", FUNCTIONS),
    (b"POST", FUNCTIONS + "/{id}/invoke"),
    (b"POST", "/isolet/v1/projects"),
    (b"POST", "/isolet/v1/deliveries/redeliver"),
    (b"PUT", "/isolet/v1/projects/default/auth"),
]


@pytest.mark.parametrize(("method", "path"), BODIES)
def test_a_length_over_the_limit_is_refused_before_the_body(small: Server, echo: str, method: bytes, path: str) -> None:
    reply = send_raw(small.url, request(path.format(id=echo), b"Content-Length: 999999999999", method=method))

    assert reply.status == 413


@pytest.mark.parametrize(("method", "path"), BODIES)
def test_a_chunked_body_without_end_is_cut_off(small: Server, echo: str, method: bytes, path: str) -> None:
    head = request(path.format(id=echo), b"Transfer-Encoding: chunked", method=method)

    # As JSON has it so far: what cannot become JSON is refused sooner.
    reply = send_raw(small.url, chain([head, b'1\r\n"\r\n'], endless(128 * MB)))

    assert reply.status in (None, 413)
    # 8 MB are read, 16 MB more behind the reply, and the kernel holds up to 10 MB on both sides.
    assert reply.accepted_bytes < 48 * MB


def test_code_over_one_megabyte_is_refused(root: httpx.Client) -> None:
    reply = root.post(FUNCTIONS, json={"function": {"name": "x", "code": "x" * (MB + 1)}})

    assert (reply.status_code, error_of(reply)) == (422, "code is too large (maximum is 1 MB)")


# Bytes that are no HTTP.


SMUGGLED = b'{"a": 1}'
BAD_HEADS = {
    "length and chunked": [b"Content-Length: 8", b"Transfer-Encoding: chunked"],
    "chunked and length": [b"Transfer-Encoding: chunked", b"Content-Length: 8"],
    "two lengths": [b"Content-Length: 8", b"Content-Length: 9"],
    "two equal lengths": [b"Content-Length: 8", b"Content-Length: 8"],
    "a list of lengths": [b"Content-Length: 8, 8"],
    "a negative length": [b"Content-Length: -1"],
    "a signed length": [b"Content-Length: +8"],
    "a hexadecimal length": [b"Content-Length: 0x8"],
    "an empty length": [b"Content-Length: "],
    "a length with a letter": [b"Content-Length: 8x"],
    "a length beyond 64 bits": [b"Content-Length: 99999999999999999999999999"],
    "space before the colon": [b"Content-Length : 8"],
    "tab before the colon": [b"Content-Length\t: 8"],
    "a name with a space": [b"Bad Name: x", b"Content-Length: 8"],
    "a name of nothing": [b": x", b"Content-Length: 8"],
    "a line without colon": [b"Nonsense", b"Content-Length: 8"],
    "a folded value": [b"X-Folded: one", b" two", b"Content-Length: 8"],
    "a folded length": [b"Content-Length:", b" 8"],
    "a NUL in a value": [b"X-Bad: a\x00b", b"Content-Length: 8"],
    "a NUL in a name": [b"X-B\x00d: a", b"Content-Length: 8"],
    "a CR in a value": [b"X-Bad: a\rb", b"Content-Length: 8"],
    "a DEL in a value": [b"X-Bad: a\x7fb", b"Content-Length: 8"],
    "an unknown coding": [b"Transfer-Encoding: magic"],
    "chunked twice": [b"Transfer-Encoding: chunked, chunked"],
    "chunked not last": [b"Transfer-Encoding: chunked, gzip"],
    "another coding before it": [b"Transfer-Encoding: gzip, chunked"],
    "another coding in a line before it": [b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"],
    "chunked in two lines": [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
    "chunked with a parameter": [b"Transfer-Encoding: chunked;q=1"],
    "chunked and nothing": [b"Transfer-Encoding: chunked,"],
    "chunked in disguise": [b"Transfer-Encoding: xchunked"],
    "chunked behind a tab": [b"Transfer-Encoding:\x0bchunked"],
}


@pytest.mark.parametrize("headers", BAD_HEADS.values(), ids=BAD_HEADS)
def test_headers_that_smuggle_are_refused(small: Server, echo: str, headers: list[bytes]) -> None:
    """No second reply: nothing of what follows is taken for a request of its own."""
    body = SMUGGLED + request("/healthz", method=b"GET")

    reply = send_raw(small.url, request(f"{FUNCTIONS}/{echo}/invoke", *headers, body=body))

    assert_refused(reply)


def test_a_coding_in_the_older_version_is_refused(small: Server, echo: str) -> None:
    chunks = b"2\r\n{}\r\n0\r\n\r\n" + request("/healthz", method=b"GET")
    head = b"POST %b/%b/invoke HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"

    assert_refused(send_raw(small.url, head % (FUNCTIONS.encode(), echo.encode()) + chunks))


BAD_CHUNKS = {
    "a size that is no number": b"zz\r\n{}\r\n0\r\n\r\n",
    "a negative size": b"-2\r\n{}\r\n0\r\n\r\n",
    "a signed size": b"+2\r\n{}\r\n0\r\n\r\n",
    "a size with 0x": b"0x2\r\n{}\r\n0\r\n\r\n",
    "a size beyond 64 bits": b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "a size too small": b"1\r\n{}\r\n0\r\n\r\n",
    "no size": b"\r\n{}\r\n0\r\n\r\n",
    "a size with a space": b"2 \r\n{}\r\n0\r\n\r\n",
    "a bare LF": b"2\n{}\n0\n\n",
}


@pytest.mark.parametrize("chunks", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
def test_chunks_that_are_none_are_refused(small: Server, echo: str, chunks: bytes) -> None:
    path = f"{FUNCTIONS}/{echo}/invoke"

    reply = send_raw(small.url, request(path, b"Transfer-Encoding: chunked", body=chunks))

    assert_refused(reply)


BAD_STARTS = {
    "no HTTP": b"hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an unknown version": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "a method of control characters": b"G\x01T / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a space in the path": b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    "a NUL in the path": b"GET /a\x00b HTTP/1.1\r\nHost: x\r\n\r\n",
    "no path": b"GET  HTTP/1.1\r\nHost: x\r\n\r\n",
    "only line ends": b"\r\n" * 1_000,
    "nothing": b"",
    "zeros": bytes(100_000),
}


@pytest.mark.parametrize("start", BAD_STARTS.values(), ids=BAD_STARTS)
def test_what_is_no_http_is_refused(small: Server, start: bytes) -> None:
    reply = send_raw(small.url, start)

    assert reply.status in (None, 400)
    assert reply.replies <= 1


def endless_header(prefix: bytes, part: bytes) -> Iterator[bytes]:
    yield b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + prefix
    for _ in range(64 * MB // len(part)):
        yield part


def test_headers_without_end_are_refused(small: Server) -> None:
    for prefix, part in ((b"X-Long: ", b"x" * 4_096), (b"", b"X-Many: y\r\n" * 512), (b"N", b"ame" * 1_024)):
        reply = send_raw(small.url, endless_header(prefix, part))
        assert reply.status in (None, 400, 431)
        assert reply.accepted_bytes < 16 * MB


def test_an_address_without_end_is_refused(small: Server) -> None:
    reply = send_raw(
        small.url, (part for parts in ([b"GET /"], (b"x" * 65_536 for _ in range(1_024))) for part in parts)
    )

    assert reply.status in (None, 400, 414, 431)
    assert reply.accepted_bytes < 16 * MB


@pytest.mark.parametrize("path", ["/" + "x" * 70_000, "/healthz?" + "x" * 70_000])
def test_a_huge_address_is_refused_in_words(small: Server, path: str) -> None:
    reply = send_raw(small.url, request(path, method=b"GET"))

    assert_refused(reply, 414, 431)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    noise=st.binary(max_size=200),
    start=st.sampled_from(
        [b"", b"GET /", b"POST /platform/v1/functions HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nA"]
    ),
)
def test_no_bytes_make_the_server_fail_or_hang(small: Server, noise: bytes, start: bytes) -> None:
    reply = send_raw(small.url, start + noise, patience_s=0.02)

    assert reply.status is None or 200 <= reply.status < 500


@pytest.mark.parametrize("name", ["X-API-Key", "X-Odd"])
@pytest.mark.parametrize("value", [b"\xff\xfe", b"a" * 60_000, b"\xf0\x9f\x8e\x88", b"\t"])
def test_odd_header_values_do_no_harm(small: Server, echo: str, name: str, value: bytes) -> None:
    head = b"POST %b/%b/invoke HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" % (FUNCTIONS.encode(), echo.encode())

    reply = send_raw(small.url, head + name.encode() + b": " + value + b"\r\nContent-Length: 2\r\n\r\n{}")

    assert (reply.status, reply.raw.endswith(b"\r\n\r\n{}")) == (200, True)


@pytest.mark.parametrize(
    ("header", "body"), [(b"Content-Length: 100", b'{"a":'), (b"Transfer-Encoding: chunked", b"2\r\n{}\r\n")]
)
def test_a_caller_that_leaves_in_the_middle_of_its_body_calls_nothing(
    small: Server, client: httpx.Client, echo: str, header: bytes, body: bytes
) -> None:
    before = Kapso(client).invocations(echo)

    reply = send_raw(small.url, request(f"{FUNCTIONS}/{echo}/invoke", header, body=body))

    assert reply.raw == b""
    assert Kapso(client).invocations(echo) == before


HOSTS = {
    "none": (b"HTTP/1.1", []),
    "two": (b"HTTP/1.1", [b"Host: a", b"Host: b"]),
    "two in HTTP/1.0": (b"HTTP/1.0", [b"Host: a", b"Host: b"]),
    "one with a space": (b"HTTP/1.1", [b"Host: a b"]),
    "one of bytes": (b"HTTP/1.1", [b"Host: \xff\xfe"]),
}


@pytest.mark.parametrize(("version", "hosts"), HOSTS.values(), ids=HOSTS)
def test_a_request_that_does_not_name_one_host_is_refused(
    small: Server, echo: str, version: bytes, hosts: list[bytes]
) -> None:
    lines = [b"POST %b/%b/invoke %b" % (FUNCTIONS.encode(), echo.encode(), version), *hosts, b"Content-Length: 2"]

    assert_refused(send_raw(small.url, b"\r\n".join(lines) + b"\r\n\r\n{}"))


@pytest.mark.parametrize(("version", "host"), [(b"1.0", b""), (b"1.0", b"Host: \r\n"), (b"1.1", b"Host:\r\n")])
def test_a_function_sees_the_servers_address_where_the_caller_names_no_host(
    small: Server, client: httpx.Client, version: bytes, host: bytes
) -> None:
    function_id = Kapso(client).deployed(SHOW_URL, public_endpoint=True)
    path = f"{FUNCTIONS}/{function_id}/invoke"
    head = b"POST %b HTTP/%b\r\nConnection: close\r\n%b\r\n" % (path.encode(), version, host)

    assert send_raw(small.url, head).raw.endswith(b"\r\n\r\n" + f"{small.url}{path}".encode())


def test_a_query_that_is_not_encoded_reaches_the_function(small: Server, client: httpx.Client) -> None:
    path = f"{FUNCTIONS}/{Kapso(client).deployed(SHOW_URL, public_endpoint=True)}/invoke"

    reply = send_raw(small.url, request(path + '?a={"b":"<c>"}', b"Connection: close"))

    assert reply.raw.endswith(path.encode() + b"?a={%22b%22:%22%3Cc%3E%22}")


def test_pipelined_requests_are_answered_in_order(small: Server, echo: str) -> None:
    bodies = [b'{"n":%d}' % number for number in range(5)]
    path = f"{FUNCTIONS}/{echo}/invoke"
    requests = [request(path, b"Content-Length: 7", body=body) for body in bodies[:-1]]
    requests.append(request(path, b"Content-Length: 7", b"Connection: close", body=bodies[-1]))

    reply = send_raw(small.url, b"".join(requests))

    assert reply.replies == 5
    assert [part[:7] for part in reply.raw.split(b"\r\n\r\n")[1:]] == bodies


@pytest.mark.parametrize("parts", ["whole", "in bytes"])
@pytest.mark.parametrize(
    ("header", "body"),
    [
        (b"Content-Length: 8", b'{"a": 1}'),
        (b"Transfer-Encoding: chunked", b'5\r\n{"a":\r\n3\r\n 1}\r\n0\r\n\r\n'),
        (b"X-Empty: body", b""),
    ],
)
def test_an_upgrade_that_is_not_taken_up_loses_no_body_and_no_request(
    small: Server, echo: str, header: bytes, body: bytes, parts: str
) -> None:
    """As clients of HTTP/2 ask in the clear, Java's for one."""
    upgrade = [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"]
    path = f"{FUNCTIONS}/{echo}/invoke"
    first = request(path, *upgrade, header, body=body)
    last = request(path, b"Content-Length: 2", b"Connection: close", body=b"{}")
    data = first + first + last

    reply = send_raw(small.url, [data] if parts == "whole" else [data[at : at + 1] for at in range(len(data))])

    bodies = [part.partition(b"HTTP/1.1")[0] for part in reply.raw.split(b"\r\n\r\n")[1:]]
    sent = b'{"a": 1}' if body else b""
    assert bodies == [sent, sent, b"{}"]


def test_a_caller_that_leaves_with_requests_pipelined_ends_the_one_that_runs(
    small: Server, client: httpx.Client, echo: str
) -> None:
    api = Kapso(client)
    slow = api.deployed("async function handler() { await scheduler.wait(20_000); return new Response(); }")
    data = request(f"{FUNCTIONS}/{slow}/invoke") + request(
        f"{FUNCTIONS}/{echo}/invoke", b"Content-Length: 2", body=b"{}"
    )

    where = urlsplit(small.url)
    with socket.create_connection((where.hostname, where.port)) as connection:
        connection.sendall(data)

    (item,) = wait_until(lambda: api.invocations(slow), what="the record")
    assert (item["status_code"], item["error_message"]) == (499, "the caller left")
    assert "Exception in ASGI application" not in small.log
