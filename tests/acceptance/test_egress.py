"""What functions reach of the world, and what is refused to them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.server import ServerConnection, serve

from tests.support.kapso import Kapso, SharedKapso
from tests.support.receiver import Answer, Delivery, Receiver
from tests.support.server import Server
from tests.support.waiting import wait_until
from tests.support.world import World, echo_server, serving

FETCHES = """async function handler(request) {
    const reply = await fetch(await request.json());
    return Response.json({ status: reply.status, text: await reply.text() });
}"""
REFUSED = "refused, functions may reach public addresses only"


@pytest.fixture
def world() -> Iterator[World]:
    with World() as server, serving(server):
        yield server


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose operator lets functions reach this machine, and the network of metadata services."""
    folder = tmp_path_factory.mktemp("open") / "data"
    with Server(folder, egress_allow="127.0.0.0/8,169.254.0.0/16") as running:
        yield running


@pytest.fixture(scope="module")
def opened(open_server: Server) -> Iterator[SharedKapso]:
    with open_server.client() as client:
        yield SharedKapso(client)


def _fetch(kapso: Kapso, function_id: str, url: str) -> dict[str, Any]:
    reply = kapso.invoke(function_id, content=f'"{url}"', headers={"content-type": "application/json"})
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


@pytest.fixture
def fetcher(common_platform: SharedKapso) -> str:
    return common_platform.deployed(FETCHES)


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.8.8.8", "127.8.8.8"),
        ("2130706433", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0.0.0.0", "0.0.0.0"),
        ("user:password@127.0.0.1", "127.0.0.1"),
        ("localhost", "localhost"),
        ("[::1]", "[::1]"),
        ("[::]", "[::]"),
        ("[::127.0.0.1]", "[::7f00:1]"),
        ("[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
        ("[64:ff9b::7f00:1]", "[64:ff9b::7f00:1]"),
        ("[64:ff9b:1::7f00:1]", "[64:ff9b:1::7f00:1]"),
        ("[2002:7f00:1::]", "[2002:7f00:1::]"),
        ("[fd00:ec2::254]", "[fd00:ec2::254]"),
        ("[fe80::1]", "[fe80::1]"),
        ("169.254.169.254", "169.254.169.254"),
        ("100.100.100.200", "100.100.100.200"),
        ("10.0.0.1", "10.0.0.1"),
        ("192.168.0.1", "192.168.0.1"),
        ("172.16.0.1", "172.16.0.1"),
        ("198.18.0.1", "198.18.0.1"),
        ("192.0.0.192", "192.0.0.192"),
    ],
)
def test_an_inside_address_is_refused_by_name(
    common_platform: SharedKapso, fetcher: str, world: World, host: str, shown: str
) -> None:
    reply = _fetch(common_platform, fetcher, f"http://{host}:{world.port}/")
    assert reply["status"] == 403
    assert reply["text"].startswith(f"cannot fetch {shown}:{world.port}: ")
    assert REFUSED in reply["text"]
    assert world.paths == []


def test_the_text_says_which_address_a_refused_name_has(
    common_platform: SharedKapso, fetcher: str, world: World
) -> None:
    reply = _fetch(common_platform, fetcher, f"http://localhost:{world.port}/")
    assert reply["text"] == f"cannot fetch localhost:{world.port}: it leads to 127.0.0.1, the address is {REFUSED}\n"


def test_a_name_that_nobody_has_is_not_called_refused(common_platform: SharedKapso, fetcher: str) -> None:
    reply = _fetch(common_platform, fetcher, "http://nobody.invalid/")
    assert reply == {"status": 502, "text": "cannot fetch nobody.invalid: the name is not known\n"}


def test_a_tcp_connection_to_an_inside_address_is_refused(kapso: Kapso) -> None:
    connects = """import { connect } from "cloudflare:sockets";
    export default { async fetch(request) {
        try { await connect(await request.json()).opened; return new Response("open"); }
        catch (error) { return new Response(String(error)); }
    } }"""
    function_id = kapso.deployed(connects)
    with echo_server() as echo, serving(echo):
        for address in (f"127.0.0.1:{echo.server_address[1]}", f"localhost:{echo.server_address[1]}"):
            reply = kapso.invoke(function_id, address)
            assert "cannot connect to the specified address" in reply.text
            assert REFUSED in reply.text


def test_an_address_that_the_operator_allowed_is_reached(opened: SharedKapso, world: World) -> None:
    function_id = opened.deployed(FETCHES)
    assert _fetch(opened, function_id, f"http://127.0.0.1:{world.port}/")["text"] == "hello from outside"
    redirect = f"http://127.0.0.1:{world.port}/redirect?to=http://localhost:{world.port}/again"
    assert _fetch(opened, function_id, redirect)["text"] == "hello from outside"
    assert world.paths[-1] == "/again"


@pytest.mark.parametrize("target", ["10.0.0.1", "[::1]", "169.254.169.254", "[64:ff9b::7f00:1]"])
def test_a_redirect_is_checked_like_the_first_address(opened: SharedKapso, world: World, target: str) -> None:
    function_id = opened.deployed(FETCHES)
    redirect = f"http://127.0.0.1:{world.port}/redirect?to=http://{target}:{world.port}/"
    reply = _fetch(opened, function_id, redirect)
    assert reply["status"] == 403
    assert reply["text"] == f"cannot fetch {target}:{world.port}: the address is {REFUSED}\n"
    assert len(world.paths) == 1


def test_a_project_narrows_what_the_operator_allowed_while_it_runs(opened: SharedKapso, world: World) -> None:
    function_id = opened.deployed(FETCHES)
    url = f"http://127.0.0.1:{world.port}/"
    address = "/isolet/v1/projects/default"

    def reached() -> int:
        return int(_fetch(opened, function_id, url)["status"])

    try:
        assert reached() == 200
        for networks, status in ([], 403), (["127.0.0.1/32"], 200), (["127.0.0.2/32"], 403), (None, 200):
            changed = opened.client.patch(address, json={"egress_allow": networks})
            assert changed.json()["egress_allow"] == networks
            wait_until(lambda status=status: reached() == status, what=f"status {status} with {networks}")
        refused = opened.client.patch(address, json={"egress_allow": ["128.0.0.0/8"]})
        assert refused.status_code == 422
        assert reached() == 200
    finally:
        assert opened.client.patch(address, json={"egress_allow": None}).status_code == 200


ASKS_OUT = """async function handler(request, ctx) {
    const base = await request.json();
    await fetch(`${base}/one?key=hidden`);
    await fetch(new Request(`${base}/two`, { method: "delete" }));
    await fetch("http://127.0.0.1:1/nobody").catch(() => {});
    ctx.waitUntil((async () => {
        await new Promise((done) => setTimeout(done, 50));
        await fetch(`${base}/late`);
    })());
    await fetch(`${base}/first-part`);
    return new Response("not reached");
}"""


def test_the_requests_of_a_call_stand_in_its_record(opened: SharedKapso, world: World) -> None:
    function_id = opened.deployed(ASKS_OUT)
    opened.client.patch(f"/isolet/v1/functions/{function_id}", json={"timeout_ms": 2_000})
    base = f"http://127.0.0.1:{world.port}"
    reply = opened.invoke(function_id, content=f'"{base}"', headers={"content-type": "application/json"})
    invocation_id = reply.json()["invocation_id"]

    def outgoing() -> list[dict[str, Any]]:
        return list(opened.client.get(f"/isolet/v1/invocations/{invocation_id}").json()["outgoing"])

    asked = wait_until(lambda: found if len(found := outgoing()) == 5 else None)
    world.first_part.set()
    host = f"127.0.0.1:{world.port}"
    assert [(one["method"], one["host"], one["path"]) for one in asked[:3]] == [
        ("GET", host, "/one"),
        ("DELETE", host, "/two"),
        ("GET", "127.0.0.1:1", "/nobody"),
    ]
    assert sorted(one["path"] for one in asked[3:]) == ["/first-part", "/late"]
    assert asked[0]["status"] == 200
    assert asked[0]["duration_ms"] >= 0
    unanswered = next(one for one in asked if one["path"] == "/first-part")
    assert (unanswered["status"], unanswered["duration_ms"]) == (None, None)
    assert "hidden" not in str(asked)


def test_a_network_around_a_metadata_service_does_not_open_it(opened: SharedKapso) -> None:
    function_id = opened.deployed(FETCHES)
    assert _fetch(opened, function_id, "http://169.254.169.254/latest/")["status"] == 403


def test_a_reply_streams_in(opened: SharedKapso, world: World) -> None:
    function_id = opened.deployed("""async function handler(request) {
        const url = await request.json();
        const reader = (await fetch(url + "/slow")).body.pipeThrough(new TextDecoderStream()).getReader();
        let text = (await reader.read()).value + (await (await fetch(url + "/go")).text()) + ",";
        for (let part; !(part = await reader.read()).done; ) text += part.value;
        return new Response(text);
    }""")
    assert opened.invoke(function_id, f"http://127.0.0.1:{world.port}").text == "first,gone,second"


def test_a_request_streams_out(opened: SharedKapso, world: World) -> None:
    function_id = opened.deployed("""async function handler(request) {
        const url = await request.json();
        const { readable, writable } = new TransformStream();
        const reply = fetch(url + "/upload", { method: "POST", body: readable });
        const writer = writable.getWriter(), encoder = new TextEncoder();
        await writer.write(encoder.encode("one"));
        const seen = await (await fetch(url + "/first-part")).text();
        await writer.write(encoder.encode(seen));
        await writer.close();
        return new Response(await (await reply).text());
    }""")
    assert opened.invoke(function_id, f"http://127.0.0.1:{world.port}").text == "one|seen"


def test_a_websocket_works(opened: SharedKapso) -> None:
    function_id = opened.deployed("""async function handler(request) {
        const reply = await fetch(await request.json(), { headers: { upgrade: "websocket" } });
        const socket = reply.webSocket;
        socket.accept();
        const answer = new Promise((resolve) => socket.addEventListener("message", (event) => resolve(event.data)));
        socket.send("ping");
        const text = await answer;
        socket.close(1000);
        return new Response(`${reply.status} ${text}`);
    }""")

    def echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(f"echo {message!s}")

    with serve(echo, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            reply = opened.invoke(function_id, f"http://127.0.0.1:{server.socket.getsockname()[1]}/")
        finally:
            server.shutdown()
            thread.join(60)
    assert reply.text == "101 echo ping"


def test_a_tcp_connection_works(opened: SharedKapso) -> None:
    function_id = opened.deployed("""import { connect } from "cloudflare:sockets";
    export default { async fetch(request) {
        const socket = connect(await request.json());
        const writer = socket.writable.getWriter();
        await writer.write(new TextEncoder().encode("hello\\n"));
        const { value } = await socket.readable.getReader().read();
        await socket.close();
        return new Response(value);
    } }""")
    with echo_server() as echo, serving(echo):
        assert opened.invoke(function_id, f"127.0.0.1:{echo.server_address[1]}").text == "echo hello\n"


LATER = """async function handler(request, env) {
    const url = await request.json();
    env.waitUntil((async () => {
        await fetch(url + "/first");
        await scheduler.wait(500);
        // One has a connection already.
        await Promise.all([fetch(url + "/second"), fetch(url + "/second")]);
    })());
    return new Response("began");
}"""


def test_requests_leave_while_the_server_itself_stands_still(
    open_server: Server, opened: SharedKapso, receiver: Receiver
) -> None:
    """Their number is bounded by what the server tells at times: the last that it told holds."""
    replied = threading.Event()

    def stop(delivery: Delivery) -> Answer:
        if delivery.path.endswith("/first"):
            assert replied.wait(60)
            open_server.process.send_signal(signal.SIGSTOP)
        return Answer()

    receiver.answer = stop
    try:
        assert opened.invoke(opened.deployed(LATER), receiver.url).text == "began"
        replied.set()
        first, *others = receiver.wait(3)
    finally:
        open_server.process.send_signal(signal.SIGCONT)
    assert first.path.endswith("/first")
    assert [other.path.endswith("/second") for other in others] == [True, True]
