"""Whose request it is: the client's address, scheme and host, of strangers and behind a proxy that is trusted."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from websockets.sync.client import connect

from tests.support.doors import DOORS, Doors, Reply
from tests.support.projects import new_project
from tests.support.server import Server
from tests.support.waiting import wait_until

SHOW = """
export default { async fetch(request, env) {
  const shown = () => JSON.stringify({ url: request.url, headers: [...request.headers], ip: env.request?.ip ?? null,
    caller: env.caller?.type ?? null });
  const { through } = request.body ? await request.json() : {};
  if (through) return new Response((await env.invoke("shown", {}, { headers: through })).body);
  const headers = { "set-cookie": "a=1; Path=/" };
  if (request.headers.get("upgrade") !== "websocket") return new Response(shown(), { headers });
  const { 0: client, 1: server } = new WebSocketPair();
  server.accept();
  server.send(shown());
  return new Response(null, { status: 101, webSocket: client });
} }
"""
CALLS = (*DOORS, "async", "websocket")
FORGED = dict.fromkeys(
    (
        *("CF-Connecting-IP", "True-Client-IP", "X-Real-IP", "X-Forwarded-For", "X-Client-IP", "Fastly-Client-IP"),
        *("X-Cluster-Client-IP", "Fly-Client-IP", "Client-IP", "X-Forwarded", "Forwarded-For", "X-Remote-Addr"),
        *("CF_Connecting_IP", "X_Forwarded-For", "x_real_ip", "CloudFront-Viewer-Address"),
    ),
    "6.6.6.6",
) | {
    "Forwarded": "for=6.6.6.6;proto=https;host=evil.test",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.test",
    "X-Forwarded-Port": "6666",
    "CF-Visitor": '{"scheme":"https"}',
    "CF-IPCountry": "XX",
    "X-Forwarded-Ssl": "evil.test",
}
PROXIED = {"X-Forwarded-For": "6.6.6.6, 203.0.113.7, 127.0.0.9", "X-Forwarded-Proto": "https"}


@pytest.fixture(scope="module")
def strange(server: Server) -> Iterator[Doors]:
    with server.client() as root, new_project(server, root) as project:
        yield Doors(project, SHOW)


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    data = tmp_path_factory.mktemp("trusting") / "data"
    settings = {
        "trusted_proxies": "127.0.0.0/8, ::1",
        "public_url": "https://pub.example/below",
        "dashboard_port": "off",
    }
    with Server(data, **settings) as server:
        # What is told to clients is the public address; the tests call the server's own.
        (port,) = (connection.laddr.port for connection in _listeners(server))
        server.url = f"http://127.0.0.1:{port}"
        with server.client() as client, new_project(server, client) as project:
            yield Doors(project, SHOW)


def _listeners(server: Server) -> list[Any]:
    found = psutil.Process(server.process.pid).net_connections("tcp")
    return [connection for connection in found if connection.status == psutil.CONN_LISTEN]


def call(
    doors: Doors, door: str, headers: dict[str, str], host: str = "pub.example", body: bytes = b"{}"
) -> dict[str, Any]:
    """What the function was told, through any way of calling it."""
    lines = [f"{name}: {value}".encode() for name, value in headers.items()]
    if door == "websocket":
        return json.loads(_websocket(doors, headers, host))
    reply = doors.ask(door, *lines, host=host.encode(), body=body)
    if door == "async":
        return dict(json.loads(_result(doors, reply)))
    assert reply.status == 200, reply.raw
    return dict(reply.json())


def _result(doors: Doors, accepted: Reply) -> str:
    path = f"/isolet/v1/invocations/{accepted.headers['x-invocation-id']}"

    def ended() -> Any:
        state = doors.project.client.get(path).json()
        return state if state["status"] == "succeeded" else None

    return str(wait_until(ended, what="the end of the call")["result"]["body"])


def _websocket(doors: Doors, headers: dict[str, str], host: str) -> str:
    url = f"ws://{host}{doors.path('butterbase')}"
    connection = socket.create_connection(doors.address, timeout=30)
    with connect(url, sock=connection, proxy=None, additional_headers=headers) as dialled:
        return str(dialled.recv(30))


def told(shown: dict[str, Any]) -> dict[str, str]:
    return dict(shown["headers"])


@pytest.mark.parametrize("door", CALLS)
def test_what_a_stranger_says_of_itself_is_not_passed_on(strange: Doors, door: str) -> None:
    shown = call(strange, door, FORGED)
    seen = told(shown)
    assert {name: value for name, value in seen.items() if "6.6.6.6" in value or "evil.test" in value} == {}
    assert {"x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "cf-visitor", "cf-ipcountry"} & set(
        seen
    ) == set()
    assert [seen[name] for name in ("cf-connecting-ip", "x-real-ip", "x-forwarded-for")] == ["127.0.0.1"] * 3
    assert shown["url"].startswith("http://pub.example/")
    if door in ("butterbase", "test", "websocket"):
        assert shown["ip"] == "127.0.0.1"


@pytest.mark.parametrize("door", CALLS)
def test_a_trusted_proxy_says_for_whom_it_asks(trusting: Doors, door: str) -> None:
    shown = call(trusting, door, FORGED | PROXIED | {"X-Forwarded-Host": "pub.example"}, host="inner.test")
    seen = told(shown)
    assert [seen[name] for name in ("cf-connecting-ip", "x-real-ip", "x-forwarded-for")] == ["203.0.113.7"] * 3
    assert {name: value for name, value in seen.items() if "6.6.6.6" in value or "evil.test" in value} == {}
    assert (seen["x-forwarded-proto"], seen["x-forwarded-host"]) == ("https", "pub.example")
    assert shown["url"].startswith("https://pub.example/")
    if door in ("butterbase", "test", "websocket"):
        assert shown["ip"] == "203.0.113.7"


def test_cookies_are_for_the_paths_that_a_proxy_shows(strange: Doors, trusting: Doors) -> None:
    for doors, base in ((strange, ""), (trusting, "/below")):
        root = f"{base}/v1/{doors.project.slug}/"
        assert doors.ask("butterbase").headers["set-cookie"] == f"a=1; Path={root}"


@pytest.mark.parametrize("door", [*DOORS, "async"])
def test_a_function_that_another_calls_is_told_of_the_client(trusting: Doors, door: str) -> None:
    body = json.dumps({"through": FORGED}).encode()
    shown = call(trusting, door, FORGED | PROXIED | {"X-Forwarded-Host": "pub.example"}, body=body)
    seen = told(shown)
    assert [seen[name] for name in ("cf-connecting-ip", "x-real-ip", "x-forwarded-for")] == ["203.0.113.7"] * 3
    assert {name: value for name, value in seen.items() if "6.6.6.6" in value or "evil.test" in value} == {}
    assert (seen["x-forwarded-proto"], seen["x-forwarded-host"]) == ("https", "pub.example")
    assert (shown["url"].partition(":")[0], shown["ip"]) == ("https", "203.0.113.7")
    assert seen["x-butterbase-caller-type"] == "loopback"


@pytest.mark.parametrize(
    ("door", "caller", "ip"), [("kapso", None, None), ("butterbase", "service_key", "203.0.113.7")]
)
def test_a_call_that_is_replayed_is_the_clients_still(
    trusting: Doors, door: str, caller: str | None, ip: str | None
) -> None:
    first = trusting.ask(door, *(f"{name}: {value}".encode() for name, value in PROXIED.items()))
    client = trusting.project.client
    reply = client.post(f"/isolet/v1/invocations/{first.headers['x-invocation-id']}/replay")
    assert reply.status_code == 201, reply.text
    shown = json.loads(reply.json()["response"]["body"])
    assert shown["url"].startswith("https://")
    assert told(shown)["cf-connecting-ip"] == "203.0.113.7"
    assert (shown["caller"], shown["ip"]) == (caller, ip)


def test_a_proxy_that_says_nothing_of_the_scheme_leaves_it(trusting: Doors) -> None:
    shown = call(trusting, "butterbase", {"X-Forwarded-For": "203.0.113.7"})
    assert shown["url"].startswith("http://pub.example/")


def test_a_proxy_cannot_name_a_host_that_is_none(trusting: Doors) -> None:
    assert trusting.ask("kapso", b"X-Forwarded-Host: a/b?c@d").status == 400
