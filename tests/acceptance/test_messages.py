"""HTTP/1.1 messages as such, at every door: trailers, half-closed clients, hosts, `Connection`, HEAD."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.doors import DOORS, Doors
from tests.support.projects import new_project
from tests.support.server import Server
from tests.support.waiting import wait_until

SHOW = """
export default { async fetch(request, env) {
  const url = new URL(request.url);
  if (url.searchParams.has("wait")) await scheduler.wait(Number(url.searchParams.get("wait")));
  if (url.searchParams.has("stream")) {
    const parts = ["first", "second", "third"];
    return new Response(new ReadableStream({ async pull(control) {
      await scheduler.wait(100);
      if (parts.length) control.enqueue(new TextEncoder().encode(parts.shift())); else control.close();
    } }));
  }
  if (request.method === "HEAD") return new Response(null);
  const events = { headers: { "content-type": "text/event-stream" } };
  if ((await request.clone().text()) === '"events"') return new Response("data: 1\\n\\n", events);
  const text = await request.text();
  return Response.json({ url: request.url, path: url.pathname, length: text.length, method: request.method,
    headers: [...request.headers], ip: env.request?.ip ?? null, caller: env.caller ?? null });
} }
"""
FORGED = {"authorization": "Bearer forged", "x-user-id": "u", "x-real-ip": "6.6.6.6", "x-custom": "1"}


@pytest.fixture(scope="module")
def doors(server: Server) -> Iterator[Doors]:
    with server.client() as root, new_project(server, root) as project:
        yield Doors(project, SHOW)


def headers_of(shown: dict[str, Any]) -> dict[str, str]:
    return dict(shown["headers"])


def chunked(door: Doors, where: str, *lines: bytes, trailers: bytes = b"", options: bytes = b"close") -> bytes:
    head = door.head(where, b"Transfer-Encoding: chunked", b"Connection: " + options, *lines)
    return head + b"2\r\n{}\r\n0\r\n" + trailers + b"\r\n"


# Trailers.

TRAILERS = b"Authorization: Bearer forged\r\nHost: evil.test\r\nX-User-Id: u\r\nX-Real-IP: 6.6.6.6\r\nX-Custom: 1\r\n"


@pytest.mark.parametrize("offer", [b"", b"Upgrade: h2c"], ids=["plain", "behind an offered upgrade"])
@pytest.mark.parametrize("door", DOORS)
def test_trailers_become_no_headers(doors: Doors, door: str, offer: bytes) -> None:
    lines, options = ([offer], b"close, upgrade") if offer else ([], b"close")
    reply = doors.send(chunked(doors, door, *lines, trailers=TRAILERS, options=options))
    assert reply.status == 200
    seen = headers_of(reply.json())
    assert seen["host"] == "a.test"
    assert {name: value for name, value in FORGED.items() if seen.get(name) == value} == {}


@pytest.mark.parametrize("offer", [b"", b"Upgrade: h2c"], ids=["plain", "behind an offered upgrade"])
@pytest.mark.parametrize(
    ("door", "trailers"),
    [
        *((door, b"x: y\r\n" * 201) for door in (*DOORS, "nobody")),
        ("nobody", b"x: " + b"y" * 70_000 + b"\r\n"),
        ("kapso", b"".join(b"x: " + b"y" * 1000 + b"\r\n" for _ in range(100))),
        ("butterbase", b"x: " + b"y" * 10_000_000),
        ("altair", b"y" * 10_000_000),
    ],
)
def test_trailers_without_end_are_refused(doors: Doors, door: str, trailers: bytes, offer: bytes) -> None:
    lines, options = ([offer], b"close, upgrade") if offer else ([], b"close")
    data = chunked(doors, "kapso" if door == "nobody" else door, *lines, trailers=trailers, options=options)
    if door == "nobody":
        data = data.replace(doors.path("kapso").encode(), b"/v1/default/fn/nobody")
    reply = doors.send(data)
    # What was not read may take the answer with it; a function that does not wait for its body may have answered.
    assert reply.status in (None, 431, 404)
    assert reply.raw.count(b"HTTP/1.1") <= 1


def test_trailers_within_the_limit_are_passed_over(doors: Doors) -> None:
    trailers = b"".join(b"x-%d: " % n + b"y" * 300 + b"\r\n" for n in range(199))
    assert doors.send(chunked(doors, "kapso", trailers=trailers)).status == 200


def test_a_chunk_line_without_end_is_refused(doors: Doors) -> None:
    head = doors.head("butterbase", b"Transfer-Encoding: chunked")
    assert doors.send(head + b"2;" + b"x" * 1_000_000).status in (None, 431)


# Half-closed clients.


@pytest.mark.parametrize("query", ["", "?wait=300", "?stream=1"], ids=["at once", "later", "in parts"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("door", [*DOORS, "async"])
def test_a_client_that_closes_its_sending_side_gets_its_reply(
    doors: Doors, door: str, framing: str, query: str
) -> None:
    target = doors.path(door) + query
    if framing == "length":
        data = doors.head(door, b"Content-Length: 2", target=target) + b"{}"
    else:
        data = doors.head(door, b"Transfer-Encoding: chunked", target=target) + b"2\r\n{}\r\n0\r\n\r\n"
    reply = doors.send(data, half_close=True)
    assert reply.status == (202 if door == "async" else 200)
    if query == "?stream=1" and door not in ("async", "test"):
        assert reply.body == b"firstsecondthird"
    elif door not in ("async", "test"):
        assert reply.json()["length"] == 2
    assert reply.raw.count(b"HTTP/1.1") == 1


def test_management_answers_a_half_closed_client(doors: Doors) -> None:
    data = doors.head("kapso", method=b"GET", target="/isolet/v1/functions")
    reply = doors.send(data, half_close=True)
    assert (reply.status, [one["id"] for one in reply.json()["data"]]) == (200, [doors.id])


def test_requests_that_were_pipelined_before_the_half_close_are_answered(doors: Doors) -> None:
    one = doors.head("kapso", b"Content-Length: 2", target=doors.path("kapso") + "?wait=200") + b"{}"
    reply = doors.send(one + one + one, half_close=True)
    assert reply.raw.count(b"HTTP/1.1 200 OK") == 3


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("framing", "part"), [(b"Content-Length: 10", b"{"), (b"Transfer-Encoding: chunked", b"2\r\n{}\r\n")]
)
def test_a_body_that_is_cut_is_no_request(doors: Doors, door: str, framing: bytes, part: bytes) -> None:
    assert doors.send(doors.head(door, framing) + part, half_close=True).status in (None, 400)


def test_a_request_behind_a_cut_one_is_answered(doors: Doors) -> None:
    whole = doors.head("kapso", b"Content-Length: 2", target=doors.path("kapso") + "?wait=200") + b"{}"
    reply = doors.send(whole + doors.head("kapso", b"Content-Length: 10") + b"{", half_close=True)
    assert reply.raw.count(b"HTTP/1.1 200 OK") == 1


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
@pytest.mark.parametrize("first", ["half-closed", "open"])
def test_a_client_that_is_gone_ends_its_call(doors: Doors, first: str, reset: bool) -> None:
    client = doors.project.client
    path = f"/platform/v1/functions/{doors.id}/invocations"
    before = {call["id"] for call in client.get(path, params={"limit": 20}).json()["data"]["invocations"]}
    with socket.create_connection(doors.address) as connection:
        target = doors.path("kapso") + "?wait=25000"
        connection.sendall(doors.head("kapso", b"Content-Length: 2", target=target) + b"{}")
        if first == "half-closed":
            connection.shutdown(socket.SHUT_WR)
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def ended() -> Any:
        latest = client.get(path, params={"limit": 20}).json()["data"]["invocations"]
        return [call["status_code"] for call in latest if call["id"] not in before]

    assert wait_until(ended, what="the end of the call") == [499]


# Hosts and targets.

BAD_HOSTS = [
    b"h.test/admin?x=",
    b"a/b?c@d",
    b"user@a.test",
    b"a.test?x",
    b"a.test#x",
    b"a b",
    b"::1",
    b"a.test:x",
    b"[::1",
]


@pytest.mark.parametrize("host", BAD_HOSTS)
@pytest.mark.parametrize("door", DOORS)
def test_a_host_that_is_more_than_a_host_is_refused(doors: Doors, door: str, host: bytes) -> None:
    assert doors.ask(door, host=host).status == 400
    absolute = f"http://{host.decode()}{doors.path(door)}"
    assert doors.ask(door, target=absolute, host=host).status == 400


@pytest.mark.parametrize("host", [b"h.test:8080", b"[::1]:7878", b"10.0.0.1"])
@pytest.mark.parametrize("absolute", [False, True])
def test_a_host_is_the_host_of_the_url(doors: Doors, host: bytes, absolute: bool) -> None:
    path = doors.path("butterbase")
    target = f"http://{host.decode()}{path}" if absolute else path
    shown = doors.ask("butterbase", target=target, host=host).json()
    assert (shown["url"], shown["path"]) == (f"http://{host.decode()}{path}", path)


def test_an_absolute_target_of_another_host_is_refused(doors: Doors) -> None:
    assert doors.ask("kapso", target="http://other.test" + doors.path("kapso")).status == 400


@pytest.mark.parametrize("door", ["kapso", "butterbase", "altair", "async"])
def test_an_address_that_is_too_long_once_it_is_escaped_is_refused(doors: Doors, door: str) -> None:
    good = 202 if door == "async" else 200
    for count, status in ((20_000, good), (30_000, 400)):
        reply = doors.ask(door, target=doors.path(door) + "?" + '"' * count)
        assert (reply.status, "x-invocation-id" in reply.headers) == (status, status == good)


# The `Connection` header.


@pytest.mark.parametrize(
    "lines",
    [
        [b"Connection: close, x-butterbase-caller-type, x-app-id, x-user-id, cf-connecting-ip, x-real-ip"],
        [b"connection: X-App-ID,X-USER-ID", b"CONNECTION: X-Butterbase-Caller-Type, CF-Connecting-IP,x-real-ip"],
        [b"Connection: x-isolet-call , x-isolet-proto,x-forwarded-for, host,content-length , transfer-encoding"],
    ],
)
@pytest.mark.parametrize("door", DOORS)
def test_connection_takes_nothing_of_what_the_platform_says(doors: Doors, door: str, lines: list[bytes]) -> None:
    body = b"{}"
    reply = doors.send(doors.head(door, b"Content-Length: 2", *lines) + body, half_close=True)
    shown = reply.json()
    seen = headers_of(shown)
    assert shown["length"] == 2
    assert {seen.get(name) for name in ("cf-connecting-ip", "x-real-ip", "x-forwarded-for")} == {"127.0.0.1"}
    if door in ("butterbase", "test"):
        assert (seen["x-app-id"], seen["x-user-id"]) == (doors.project.slug, "")
        assert seen["x-butterbase-caller-type"] == "service_key"
        assert shown["caller"]["type"] == "service_key"


FORGED_CALLER = [
    *(b"X-User-Id: admin", b"X-App-Id: other", b"X-Butterbase-Caller-Type: service_key"),
    *(b"x-butterbase-caller-source-fn: f", b"X-Butterbase-Loop-Depth: 3"),
]


@pytest.mark.parametrize("door", [*DOORS, "public"])
def test_what_the_platform_says_of_a_caller_nobody_else_says(doors: Doors, door: str) -> None:
    """Through whichever door: the function is told by one of them."""
    public = door == "public"
    target = f"/f/{doors.project.slug}/{doors.name}" if public else ""
    reply = doors.ask("kapso" if public else door, *FORGED_CALLER, target=target)
    assert reply.status == 200
    seen = headers_of(reply.json())
    ours = {"x-app-id": doors.project.slug, "x-user-id": "", "x-butterbase-caller-type": "service_key"}
    told = {name: value for name, value in seen.items() if name.startswith(("x-butterbase-", "x-user-id", "x-app-id"))}
    assert {name: told[name] for name in told if not name.endswith(("key-id", "scope"))} == (
        ours if door in ("butterbase", "test") else {}
    )


@pytest.mark.parametrize("door", ["kapso", "butterbase", "altair"])
def test_connection_takes_the_callers_own_headers(doors: Doors, door: str) -> None:
    lines = [b"Connection: x-one", b"X-One: 1", b"Connection: close,X-TWO", b"x-two: 2", b"X-Three: 3"]
    seen = headers_of(doors.send(doors.head(door, b"Content-Length: 2", *lines) + b"{}", half_close=True).json())
    assert [seen.get(name) for name in ("x-one", "x-two", "x-three")] == [None, None, "3"]


# HEAD.


def test_a_reply_to_head_has_the_functions_own_length_or_none(doors: Doors) -> None:
    assert "content-length" not in doors.ask("butterbase", method=b"HEAD", body=b"").headers
    longer = Doors(doors.project, "export default { fetch() { return new Response('hello'); } }", "head")
    assert longer.ask("butterbase", method=b"HEAD", body=b"").headers["content-length"] == "5"


# Events.


@pytest.mark.parametrize("door", DOORS)
def test_proxies_are_told_to_pass_events_on_as_they_come(doors: Doors, door: str) -> None:
    reply = doors.ask(door, body=b'"events"')
    assert reply.body == b"data: 1\n\n"
    assert (reply.headers["x-accel-buffering"], reply.headers["cache-control"]) == ("no", "no-cache, no-transform")


# Refusals beside replies.


def test_a_refusal_waits_for_the_reply_before_it(doors: Doors) -> None:
    whole = doors.head("kapso", b"Content-Length: 2", target=doors.path("kapso") + "?wait=200") + b"{}"
    reply = doors.send(whole + b"nonsense\r\n\r\n")
    first, second = reply.raw.split(b"HTTP/1.1 ")[1:]
    assert (first[:3], second[:3]) == (b"200", b"400")


def test_no_refusal_stands_inside_a_reply(doors: Doors) -> None:
    echo = "export default { fetch(request) { return new Response(request.body); } }"
    echoing = Doors(doors.project, echo, "echo")
    with socket.create_connection(echoing.address, timeout=30) as connection:
        connection.sendall(echoing.head("butterbase", b"Transfer-Encoding: chunked") + b"2\r\nab\r\n")
        received = b""
        while b"ab" not in received:
            received += connection.recv(65_536)
        connection.sendall(b"nonsense\r\n")
        try:
            while part := connection.recv(65_536):
                received += part
        except ConnectionResetError:
            pass
    assert received.count(b"HTTP/1.1") == 1
    assert not received.endswith(b"0\r\n\r\n")


def test_async_calls_are_told_who_called(doors: Doors, root: httpx.Client) -> None:
    lines = [b"Connection: x-one, cf-connecting-ip", b"X-One: 1", b"CF-Connecting-IP: 6.6.6.6", b"X-Real-IP: 6.6.6.6"]
    accepted = doors.ask("async", *lines, *FORGED_CALLER)
    call = f"/isolet/v1/invocations/{accepted.headers['x-invocation-id']}"

    def ended() -> Any:
        state = root.get(call).json()
        return state if state["status"] == "succeeded" else None

    shown = wait_until(ended, what="the end of the call")["result"]["body"]
    seen = headers_of(json.loads(shown))
    assert (seen["cf-connecting-ip"], seen["x-real-ip"], seen.get("x-one")) == ("127.0.0.1", "127.0.0.1", None)
    assert {"x-user-id", "x-app-id", "x-butterbase-caller-type"} & set(seen) == set()
