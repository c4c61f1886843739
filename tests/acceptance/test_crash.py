"""The server is killed: nothing is left running, nothing that was accepted is lost."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil

from tests.support.kapso import Kapso
from tests.support.server import Server
from tests.support.waiting import wait_until

COUNTED = "async function handler(request) { return Response.json({ name: 'NAME', got: await request.json() }); }"


def runs(process: psutil.Process) -> bool:
    """Whether a process still does anything; one that only waits for its parent to look does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def call_until_refused(server: Server, function_ids: list[str], started: threading.Event) -> int:
    """Call the functions in turn until the server is gone; how many calls were answered."""
    count = 0
    with server.client() as client:
        while True:
            try:
                reply = Kapso(client).invoke(function_ids[count % len(function_ids)], {"n": count})
            except httpx.TransportError:
                return count
            assert reply.status_code == 200, reply.text
            count += 1
            started.set()


def test_a_killed_server_leaves_no_process_and_comes_back_whole(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server, server.client() as client:
        kapso = Kapso(client)
        ids = {f"n{number}": kapso.deployed(COUNTED.replace("NAME", f"n{number}")) for number in range(4)}
        started = threading.Event()
        with ThreadPoolExecutor(4) as threads:
            callers = [threads.submit(call_until_refused, server, list(ids.values()), started) for _ in range(4)]
            assert started.wait(60)
            accepted = kapso.create(COUNTED.replace("NAME", "accepted"))["id"]
            children = server.children()
            assert client.post(f"/platform/v1/functions/{accepted}/deploy").status_code == 202
            server.kill()
            assert sum(caller.result() for caller in callers) > 0
        assert len(children) > 4
        wait_until(lambda: not any(map(runs, children)), what="the end of every child")

    with Server(tmp_path / "data") as server, server.client() as client:
        kapso = Kapso(client)
        assert kapso.wait_deployed(accepted)["status"] == "deployed"
        for name, function_id in [*ids.items(), ("accepted", accepted)]:
            assert kapso.invoke(function_id, {"n": 1}).json() == {"name": name, "got": {"n": 1}}


def test_an_accepted_deploy_survives_being_killed_again_and_again(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server, server.client() as client:
        function_id = Kapso(client).create(COUNTED)["id"]
        client.post(f"/platform/v1/functions/{function_id}/deploy")
        server.kill()
    for _ in range(2):
        with Server(tmp_path / "data") as server:
            server.kill()

    with Server(tmp_path / "data") as server, server.client() as client:
        function = Kapso(client).wait_deployed(function_id)
        assert (function["status"], function["version"]) == ("deployed", 1)
        assert Kapso(client).invoke(function_id, {}).json()["name"] == "NAME"


def test_records_of_calls_are_on_disk_soon(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server, server.client() as client:
        kapso = Kapso(client)
        function_id = kapso.deployed(COUNTED)
        call = kapso.invoke(function_id, {}).headers["x-invocation-id"]
        assert [item["id"] for item in kapso.invocations(function_id)] == [call]
        server.kill()

    with Server(tmp_path / "data") as server, server.client() as client:
        assert [item["id"] for item in Kapso(client).invocations(function_id)] == [call]
