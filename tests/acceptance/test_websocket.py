"""WebSockets on the public route: what passes, who may, what is recorded, and how they end."""

import contextlib
import json
import select
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from tests.support.butterbase import Butterbase, SharedButterbase
from tests.support.limits import instances
from tests.support.raw import send_raw
from tests.support.server import Server
from tests.support.waiting import wait_until
from tests.support.websocket import ECHO, dial, invocation_id, record, refused

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
MB = 1024 * 1024


def closed_with(connection: ClientConnection, *, timeout_s: float = 240) -> tuple[int, str]:
    """Code and reason of the other side's close; 1006 when it went without one."""
    with pytest.raises(ConnectionClosed) as told:
        connection.recv(timeout=timeout_s)
    received = told.value.rcvd
    return (received.code, received.reason) if received is not None else (1006, "")


def recorded(butterbase: Butterbase, connection: ClientConnection) -> dict[str, Any]:
    return wait_until(lambda: record(butterbase, connection), what="the record of the connection")


def limit(butterbase: Butterbase, name: str, **limits: int) -> None:
    reply = butterbase.client.patch(f"/isolet/v1/functions/{butterbase.get(name)['id']}", json=limits)
    assert reply.status_code == 200, reply.text


# What passes.


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_text_and_bytes_pass_both_ways(shared: SharedButterbase, compression: str | None) -> None:
    shared.deploy("echo", ECHO)

    with dial(shared, "echo", compression=compression) as connection:
        for message in ("hello", "grüße 👋", "", b"\x00\xff\x80", b"x" * 200_000):
            connection.send(message)
            assert connection.recv(timeout=60) == message


def test_the_function_sees_who_connects_and_the_headers_of_the_handshake(shared: SharedButterbase) -> None:
    shared.deploy("keyed", ECHO, auth="required")

    with dial(shared, "keyed", additional_headers={"X-API-Key": shared.key, "X-Mine": "yes"}) as connection:
        connection.send("who")
        seen = json.loads(connection.recv(timeout=60))

    assert (seen["user"], seen["caller"]) == (None, "service_key")
    assert (seen["headers"]["x-mine"], seen["headers"]["upgrade"]) == ("yes", "websocket")
    assert "x-api-key" not in seen["headers"]


def test_a_subprotocol_is_agreed_on_and_not_recorded(shared: SharedButterbase) -> None:
    agreed = 'status: 101, headers: { "sec-websocket-protocol": req.headers.get("sec-websocket-protocol") }'
    shared.deploy("agreeing", ECHO.replace("status: 101", agreed))

    with dial(shared, "agreeing", subprotocols=["token.abc"]) as connection:
        assert connection.subprotocol == "token.abc"

    headers = dict(recorded(shared, connection)["request"]["headers"])
    assert headers["sec-websocket-protocol"] == "[redacted]"


def test_a_caller_that_does_not_read_holds_the_function_back_not_the_server(
    shared: SharedButterbase, server: Server
) -> None:
    shared.deploy("flood", ECHO.replace("server.send(event.data)", "for (let i = 0; i < 32; i++) server.send(BIG)")
                      + "const BIG = new Uint8Array(1024 * 1024);")  # fmt: skip
    process = psutil.Process(server.process.pid)

    with dial(shared, "flood", compression=None, max_size=None, max_queue=1) as connection:
        before = process.memory_info().rss
        connection.send("go")
        assert len(connection.recv(timeout=60)) == MB
        assert process.memory_info().rss - before < 8 * MB
        assert sum(len(connection.recv(timeout=60)) for _ in range(31)) == 31 * MB


def test_a_function_that_does_not_read_holds_the_caller_back(butterbase: Butterbase, server: Server) -> None:
    others = instances(server)
    butterbase.deploy("echo", ECHO)
    (pid,) = instances(server) - others
    instance, process = psutil.Process(pid), psutil.Process(server.process.pid)
    frame = b"\x82\xff" + MB.to_bytes(8, "big") + bytes(4) + b"x" * MB

    with dial(butterbase, "echo", compression=None, max_size=None) as connection:
        before = process.memory_info().rss
        instance.suspend()
        accepted = send_while_taken(connection.socket, frame * 16)
        grown = process.memory_info().rss - before
        instance.resume()
        connection.socket.sendall((frame * 16)[accepted:])
        assert sum(len(connection.recv(timeout=60)) for _ in range(16)) == 16 * MB

    assert accepted < 14 * MB
    assert grown < 4 * MB


def send_while_taken(connection: socket.socket, data: bytes) -> int:
    """How much of `data` was taken before nothing more was for a while."""
    sent = 0
    while sent < len(data) and select.select([], [connection], [], 0.5)[1]:
        sent += connection.send(data[sent : sent + 65_536], socket.MSG_DONTWAIT)
    return sent


# How it ends.


def test_the_close_of_the_caller_reaches_the_function(shared: SharedButterbase) -> None:
    shared.deploy("echo", ECHO)

    with dial(shared, "echo") as connection:
        connection.close(4005, "enough")

    assert connection.close_code == 4005
    wait_until(
        lambda: [line["message"] for line in record(shared, connection)["console"]] == ["closed 4005 enough"],
        what="the function's line about the close",
    )


def test_the_close_of_the_function_reaches_the_caller(shared: SharedButterbase) -> None:
    shared.deploy("echo", ECHO)

    with dial(shared, "echo") as connection:
        connection.send("bye")
        assert closed_with(connection) == (4001, "as you wish")

    ended = recorded(shared, connection)
    assert (ended["kind"], ended["outcome"], ended["status_code"], ended["error"]) == ("websocket", "ok", 101, None)
    assert (ended["request"]["body"], ended["response"]["body"]) == ("", "")


def test_a_caller_that_vanishes_reaches_the_function_as_a_close(shared: SharedButterbase) -> None:
    shared.deploy("echo", ECHO)

    with dial(shared, "echo") as connection:
        connection.socket.shutdown(2)

    ended = recorded(shared, connection)
    assert (ended["outcome"], ended["status_code"]) == ("disconnected", 101)
    wait_until(lambda: "closed 1006" in str(record(shared, connection)["console"]), what="the function's line about it")


def test_what_a_listener_throws_closes_and_is_recorded(shared: SharedButterbase) -> None:
    shared.deploy("echo", ECHO)

    with dial(shared, "echo") as connection:
        connection.send("throw")
        assert closed_with(connection) == (1011, "the function broke off")

    ended = recorded(shared, connection)
    assert (ended["outcome"], ended["status"]) == ("handler_failed", "failed")
    assert ended["console"][0]["message"] == "WebSocket: Error: no such message"


def test_handlers_that_are_properties_are_of_their_call_like_listeners(shared: SharedButterbase) -> None:
    code = """export default () => {
      const { 0: client, 1: server } = new WebSocketPair();
      server.accept();
      server.onmessage = ({ data }) => { console.log("got", data); server.send(typeof server.onmessage); };
      server.onclose = () => { console.log("closed"); };
      return new Response(null, { status: 101, webSocket: client });
    };"""
    shared.deploy("properties", code)

    with dial(shared, "properties") as one, dial(shared, "properties") as two:
        for name, connection in (("one", one), ("two", two)):
            connection.send(name)
            assert connection.recv(timeout=60) == "function"
        one.close()

    for name, connection in (("one", one), ("two", two)):
        wait_until(
            lambda name=name, connection=connection: (  # type: ignore[misc]
                [line["message"] for line in record(shared, connection)["console"]] == [f"got {name}", "closed"]
            ),
            what=f"the lines of {name}",
        )


@pytest.mark.parametrize(("message", "limits"), [("spin", {"cpu_ms": 200}), ("grow", {"memory_limit_mb": 64})])
def test_a_function_over_a_limit_takes_its_sockets_with_it(
    butterbase: Butterbase, message: str, limits: dict[str, int]
) -> None:
    butterbase.deploy("echo", ECHO)
    limit(butterbase, "echo", **limits)

    with dial(butterbase, "echo") as innocent, dial(butterbase, "echo") as connection:
        connection.send(message)
        assert closed_with(connection) == (1011, "the function broke off")
        assert closed_with(innocent) == (1011, "the function broke off")

    ended = recorded(butterbase, connection)
    (broken,) = (name.partition("_")[0] for name in limits)
    assert (ended["outcome"], ended["kill_report"]["limit"], ended["status_code"]) == ("crashed", broken, 101)


def test_a_deploy_lets_connections_finish_and_then_asks_them_to_come_again(butterbase: Butterbase) -> None:
    butterbase.deploy("echo", ECHO, timeoutMs=1000)

    with dial(butterbase, "echo") as old:
        old.send("before")
        butterbase.deploy("echo", ECHO.replace("server.send(event.data)", "server.send('new')"))
        with dial(butterbase, "echo") as new:
            new.send("hello")
            assert new.recv(timeout=60) == "new"
        assert old.recv(timeout=60) == "before"
        old.send("after")
        assert old.recv(timeout=60) == "after"
        assert closed_with(old) == (1012, "restarting")

    assert recorded(butterbase, old)["outcome"] == "ok"


# What is refused.


def test_without_credentials_a_closed_function_does_not_run(shared: SharedButterbase) -> None:
    shared.deploy("closed", ECHO, auth="required")

    assert refused(shared, "closed").status_code == 401
    assert shared.logs("closed") == []


def test_a_function_that_is_not_there_is_404(shared: SharedButterbase) -> None:
    assert refused(shared, "nobody").status_code == 404


def test_the_reply_of_a_function_that_does_not_accept_comes_as_it_is(shared: SharedButterbase) -> None:
    shared.deploy("no", "export default () => new Response('not now', { status: 400 })")

    reply = refused(shared, "no")

    assert (reply.status_code, reply.body) == (400, b"not now")
    assert [(line["status_code"], line["method"]) for line in shared.logs("no")] == [(400, "GET")]


def test_the_deadline_counts_to_the_answer(shared: SharedButterbase) -> None:
    shared.deploy("slow", "export default () => new Promise((done) => setTimeout(done, 60_000))", timeoutMs=1000)

    assert refused(shared, "slow").status_code == 504


def test_a_plain_request_is_told_that_it_asked_for_no_websocket(shared: SharedButterbase) -> None:
    shared.deploy("echo", ECHO)

    reply = shared.call("echo")

    assert reply.status_code == 500
    assert "the request asked for none" in reply.json()["error"]


@pytest.mark.parametrize(
    ("method", "headers", "status", "says"),
    [
        (b"GET", [], 426, "Sec-WebSocket-Version must be 13"),
        (b"GET", [b"Sec-WebSocket-Version: 8"], 426, "Sec-WebSocket-Version must be 13"),
        (b"GET", [b"Sec-WebSocket-Version: 13"], 400, "Sec-WebSocket-Key must be 16 bytes in base64"),
        (b"GET", [b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: c2hvcnQ="], 400, "Sec-WebSocket-Key must be"),
        (b"POST", [b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: " + KEY], 400, "asked for with GET"),
        (b"GET", [b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: " + KEY, b"Content-Length: 2"], 400, "no body"),
    ],
)
def test_a_malformed_handshake_is_refused(
    shared: SharedButterbase, server: Server, method: bytes, headers: list[bytes], status: int, says: str
) -> None:
    shared.deploy("shaken", ECHO)
    lines = [b"Host: here", b"Connection: keep-alive, Upgrade", b"Upgrade: WebSocket", *headers]
    head = b"%b /v1/%b/fn/shaken HTTP/1.1\r\n" % (method, shared.app.encode()) + b"\r\n".join(lines) + b"\r\n\r\n"

    reply = send_raw(server.url, head + (b"{}" if b"Content-Length: 2" in headers else b""))

    assert (reply.status, reply.replies) == (status, 1)
    assert says in reply.body["error"]["message"]
    assert (b"sec-websocket-version: 13" in reply.raw) == (status == 426)
    assert shared.logs("shaken") == []


def test_frames_sent_with_the_handshake_arrive_and_a_flood_of_them_is_cut(
    shared: SharedButterbase, server: Server
) -> None:
    shared.deploy("echo", ECHO)
    shared.deploy("never", "export default () => new Promise(() => {})", timeoutMs=5000)
    lines = (
        b"Host: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
    )
    head = b"GET /v1/%b/fn/%b HTTP/1.1\r\n" + lines + KEY + b"\r\n\r\n"
    app = shared.app.encode()

    closing = b"\x88\x80\0\0\0\0"
    early = send_raw(server.url, head % (app, b"echo") + b"\x81\x82\0\0\0\0hi" + closing)
    flood = send_raw(server.url, [head % (app, b"never"), b"\x82\xff" + bytes(8) + b"x" * 400_000])

    plain = b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n"
    behind = send_raw(server.url, plain + head % (app, b"echo") + closing)

    assert (behind.replies, behind.status, b" 101 Switching" in behind.raw) == (2, 200, True)
    assert early.status == 101
    assert early.raw.partition(b"\r\n\r\n")[2].startswith(b"\x81\x02hi\x88")
    assert flood.status is None


@pytest.fixture
def allow(shared: SharedButterbase, root: httpx.Client) -> Iterator[Callable[[list[str]], None]]:
    """Sets the origins whose pages may read the project's replies, for one test."""

    def change(origins: list[str]) -> None:
        reply = root.patch(f"/isolet/v1/projects/{shared.app}", json={"allowed_origins": origins})
        assert reply.status_code == 200, reply.text

    yield change
    change(["*"])


@pytest.mark.parametrize(
    ("allowed", "origin", "cookie"),
    [
        ([], None, "a=1"),
        ([], "http://{host}", "a=1"),
        (["https://shop.example"], "https://shop.example", "a=1"),
        (["*"], "https://any.example", None),
    ],
)
def test_pages_that_may_read_replies_may_connect(
    shared: SharedButterbase,
    allow: Callable[[list[str]], None],
    allowed: list[str],
    origin: str | None,
    cookie: str | None,
) -> None:
    allow(allowed)
    shared.deploy("echo", ECHO)
    sent = origin and origin.format(host=shared.public.base_url.netloc.decode())

    with dial(shared, "echo", origin=sent, additional_headers={"Cookie": "a=1"}) as connection:
        connection.send("who")
        assert json.loads(connection.recv(timeout=60))["headers"].get("cookie") == cookie


@pytest.mark.parametrize("allowed", [[], ["https://shop.example"]])
def test_pages_that_may_not_read_replies_may_not_connect(
    shared: SharedButterbase, allow: Callable[[list[str]], None], allowed: list[str]
) -> None:
    allow(allowed)
    shared.deploy("unread", ECHO)

    reply = refused(shared, "unread", origin="https://evil.example")

    assert (reply.status_code, "allowed_origins" in bytes(reply.body or b"").decode()) == (403, True)
    assert shared.logs("unread") == []


def test_a_websocket_cannot_be_replayed(shared: SharedButterbase) -> None:
    shared.deploy("echo", ECHO)
    with dial(shared, "echo") as connection:
        connection.send("bye")
        closed_with(connection)
    recorded(shared, connection)

    reply = shared.client.post(f"/isolet/v1/invocations/{invocation_id(connection)}/replay")

    assert (reply.status_code, "WebSocket" in reply.text) == (409, True)


# Many, and long.


def test_two_hundred_connections_leave_nothing_open(butterbase: Butterbase, server: Server) -> None:
    butterbase.deploy("echo", ECHO)
    limit(butterbase, "echo", concurrency=300)
    process = psutil.Process(server.process.pid)
    with dial(butterbase, "echo"):
        before = process.num_fds()

    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(dial(butterbase, "echo", compression=None)) for _ in range(200)]
        for number, connection in enumerate(connections):
            connection.send(str(number))
        assert [connection.recv(timeout=60) for connection in connections] == [str(number) for number in range(200)]
        assert process.num_fds() >= before + 390

    wait_until(lambda: process.num_fds() < before + 20, what="closing of the descriptors")
    wait_until(lambda: len(butterbase.logs("echo", limit=500)) == 201, what="the records")
