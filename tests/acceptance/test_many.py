"""Many functions and many calls: no error, and nothing is left behind."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.kapso import Kapso
from tests.support.server import Server
from tests.support.waiting import wait_until

CODE = "async function handler(request) { return Response.json([NUMBER, (await request.json()).n]); }"
# Fewer may run than there are: some make room for others.
FUNCTIONS = 60
INSTANCES = 50
BUSY = 20
CALLS = 1_000
CONNECTIONS = 50


def create_deployed(kapso: Kapso, number: int) -> str:
    """Create one and accept its deploy; it is polled for later."""
    function_id = kapso.create(CODE.replace("NUMBER", str(number)), name=f"n{number}")["id"]
    assert kapso.client.post(f"{kapso.base}/functions/{function_id}/deploy").status_code == 202
    return str(function_id)


@pytest.mark.timeout(240)
def test_more_functions_than_may_run_and_a_thousand_calls(tmp_path: Path) -> None:
    with Server(tmp_path / "data", idle_timeout_s=1.5, max_instances=INSTANCES) as server, server.client() as client:
        kapso = Kapso(client)
        itself = psutil.Process(server.process.pid)
        base_descriptors, base_children = itself.num_fds(), len(server.children())

        ids = [create_deployed(kapso, number) for number in range(FUNCTIONS)]
        functions = wait_until(lambda: settled(kapso), timeout_s=180, what="all deploys")
        assert {function["status"] for function in functions} == {"deployed"}
        assert [kapso.invoke(function_id, {"n": -1}).json() for function_id in ids] == [
            [number, -1] for number in range(FUNCTIONS)
        ]

        answers = call_all(server, ids[:BUSY])
        assert answers == [(200, [number % BUSY, number]) for number in range(CALLS)]

        wait_until(lambda: len(server.children()) <= base_children, what="the end of idle instances")
        wait_until(lambda: itself.num_fds() <= base_descriptors + 10, what="the closing of descriptors")
        assert kapso.invoke(ids[0], {"n": 1}).json() == [0, 1]
        children = server.children()
        assert server.stop() == 0

    assert [child for child in children if child.is_running()] == []
    assert [path for path in (tmp_path / "data").rglob("*") if stat.S_ISSOCK(path.lstat().st_mode)] == []


def settled(kapso: Kapso) -> list[dict[str, Any]] | None:
    """Every function, once no deploy is under way."""
    functions = kapso.client.get(f"{kapso.base}/functions").json()["data"]
    return functions if all(function["status"] != "draft" for function in functions) else None


def call_all(server: Server, ids: list[str]) -> list[tuple[int, Any]]:
    """`CALLS` calls over the functions in turn, on `CONNECTIONS` connections; the replies in order."""

    def caller(first: int) -> list[tuple[int, int, Any]]:
        replies = []
        with server.client() as client:
            for number in range(first, CALLS, CONNECTIONS):
                reply = Kapso(client).invoke(ids[number % len(ids)], {"n": number})
                replies.append((number, reply.status_code, reply.json()))
        return replies

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        together = [reply for replies in threads.map(caller, range(CONNECTIONS)) for reply in replies]
    return [(status, body) for _, status, body in sorted(together)]
