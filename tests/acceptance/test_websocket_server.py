"""WebSockets and the life of the server and its instances: idle ones, busy ones, stops."""

import time
from pathlib import Path

from tests.acceptance.test_websocket import closed_with, recorded
from tests.support.butterbase import Butterbase
from tests.support.limits import instances
from tests.support.server import Server
from tests.support.waiting import wait_until
from tests.support.websocket import ECHO, dial, invocation_id

SILENT = ECHO.replace("server.send(event.data)", "undefined")


def test_a_silent_connection_is_closed_and_an_open_one_keeps_its_instance(tmp_path: Path) -> None:
    with (
        Server(tmp_path / "data", websocket_idle_timeout_s=1, idle_timeout_s=0.1) as server,
        server.client() as client,
        server.client("") as public,
    ):
        butterbase = Butterbase(client, public)
        butterbase.deploy("echo", ECHO)
        egress_only = instances(server)

        with dial(butterbase, "echo") as connection:
            running = instances(server) - egress_only
            assert closed_with(connection) == (1001, "idle")
            assert instances(server) - egress_only == running

        assert recorded(butterbase, connection)["outcome"] == "ok"
        wait_until(lambda: not instances(server) - egress_only, what="the end of the idle instance")


def test_a_stop_asks_callers_to_connect_again_and_does_not_wait_for_them(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server, server.client() as client, server.client("") as public:
        butterbase = Butterbase(client, public)
        butterbase.deploy("echo", ECHO)
        with dial(butterbase, "echo") as polite, dial(butterbase, "echo") as rude:
            rude.recv_events_thread = None
            began = time.monotonic()
            server.process.terminate()
            assert closed_with(polite) == (1012, "restarting")
            assert server.wait(15) == 0
            assert time.monotonic() - began < 8
            call = invocation_id(polite)
        assert "Traceback" not in server.log

    with Server(tmp_path / "data") as again, again.client() as client:
        stored = client.get(f"/isolet/v1/invocations/{call}").json()
    assert (stored["outcome"], stored["status_code"]) == ("ok", 101)
