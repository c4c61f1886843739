"""WebSockets and the life of the server and its instances: idle ones, busy ones, stops."""

import socket
from pathlib import Path

from tests.acceptance.test_websocket import closed_with, recorded
from tests.support.butterbase import Butterbase
from tests.support.limits import instances
from tests.support.server import Server
from tests.support.waiting import wait_until
from tests.support.websocket import ECHO, dial, invocation_id


def test_a_silent_connection_is_closed_and_an_open_one_keeps_its_instance(tmp_path: Path) -> None:
    with (
        Server(tmp_path / "data", websocket_idle_timeout_s=1, idle_timeout_s=0.1) as server,
        server.client() as client,
        server.client("") as public,
    ):
        butterbase = Butterbase(client, public)
        egress = instances(server)
        butterbase.deploy("echo", ECHO)

        with dial(butterbase, "echo") as connection:
            (running,) = instances(server) - egress
            assert closed_with(connection) == (1001, "idle")

        # Ten times as long as an instance without calls lives.
        ended = recorded(butterbase, connection)
        assert (ended["outcome"], ended["duration_ms"] >= 1000) == ("ok", True)
        wait_until(lambda: running not in instances(server), what="the end of the idle instance")


def test_a_stop_asks_callers_to_connect_again_and_does_not_wait_for_those_that_do_not_listen(tmp_path: Path) -> None:
    started = Server(tmp_path / "data", drain_timeout_s=600)
    with started as server, server.client() as client, server.client("") as public:
        butterbase = Butterbase(client, public)
        butterbase.deploy("echo", ECHO)
        with dial(butterbase, "echo") as connection, deaf(server, "echo"):
            call = invocation_id(connection)
            server.process.terminate()
            assert closed_with(connection) == (1012, "restarting")
            assert server.wait(60) == 0
        assert "Traceback" not in server.log

    with Server(tmp_path / "data") as again, again.client() as client:
        stored = client.get(f"/isolet/v1/invocations/{call}").json()
        outcomes = [line["outcome"] for line in client.get("/isolet/v1/invocations?kind=websocket").json()["data"]]
    assert (stored["outcome"], stored["status_code"]) == ("ok", 101)
    assert outcomes == ["ok", "ok"]


def deaf(server: Server, name: str) -> socket.socket:
    """A connection that is open and never answers."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.sendall(
        b"GET /v1/default/fn/%b HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" % name.encode()
    )
    assert connection.recv(65_536).startswith(b"HTTP/1.1 101 ")
    return connection
