"""The platform's own log: every line of a request or a call says whose it is."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.altair import Altair
from tests.support.kapso import Kapso
from tests.support.server import Server
from tests.support.waiting import wait_until

CODE = """export default async (request) => {
  if (await request.text() === '"spin"') for (;;);
  return new Response("ok");
};"""


@pytest.fixture(scope="module")
def logging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("log") / "data", log_format="json") as running:
        yield running


@pytest.fixture
def client(logging: Server) -> Iterator[httpx.Client]:
    with logging.client() as client:
        yield client


def lines(server: Server, event: str, **fields: object) -> list[dict[str, Any]]:
    """The lines with that text and those fields. Every line of the log is JSON."""
    parsed = [json.loads(line) for line in server.log.splitlines()]
    return [line for line in parsed if line["event"] == event and fields.items() <= line.items()]


def line(server: Server, event: str, **fields: object) -> dict[str, Any]:
    return wait_until(lambda: lines(server, event, **fields), what=event)[0]


def break_secrets(server: Server, function_id: str) -> None:
    """Its next instance cannot be started: a fault of the platform's own."""
    database = sqlite3.connect(server.data_dir / "isolet.db", isolation_level=None, timeout=60)
    try:
        broken = database.execute("UPDATE secrets SET sealed = x'00' WHERE function_id = ?", (function_id,))
        assert broken.rowcount == 1
    finally:
        database.close()


def broken_function(server: Server, client: httpx.Client, name: str) -> str:
    kapso = Kapso(client)
    function_id = kapso.deployed(CODE, name)
    secret = {"secret": {"name": "WORD", "value": "hush"}}
    assert client.post(f"{kapso.base}/functions/{function_id}/secrets", json=secret).status_code == 201
    break_secrets(server, function_id)
    return function_id


def test_a_request_id_of_the_caller_comes_back(client: httpx.Client) -> None:
    for path in ("/isolet/v1/projects", "/platform/v1/functions", "/spaces/default/functions", "/isolet/v1/nothing"):
        reply = client.get(path, headers={"X-Request-Id": "from-me:1"})
        assert reply.headers.get_list("x-request-id") == ["from-me:1"], path


@pytest.mark.parametrize("given", [None, "", "two words", "x" * 129, "<script>", "é"])
def test_without_a_sane_one_the_request_gets_an_id(client: httpx.Client, given: str | None) -> None:
    headers = {} if given is None else {"X-Request-Id": given.encode()}
    first, second = (client.get("/isolet/v1/projects", headers=headers).headers["x-request-id"] for _ in range(2))
    assert len(first) == len(second) == 36
    assert first != second


def test_what_a_deploy_logs_names_its_request_and_function(logging: Server, client: httpx.Client) -> None:
    kapso = Kapso(client)
    function_id = kapso.create(CODE, "Logged")["id"]
    client.headers["x-request-id"] = "deploy-it"

    kapso.deploy(function_id)

    assert line(logging, "deployed", function_id=function_id)["request_id"] == "deploy-it"


def test_a_fault_of_a_management_request_names_the_request(logging: Server, client: httpx.Client) -> None:
    function_id = broken_function(logging, client, "Fault")

    reply = client.post(f"/platform/v1/functions/{function_id}/deploy", headers={"X-Request-Id": "broken-deploy"})

    assert reply.status_code == 202
    found = line(logging, "deploy failed", request_id="broken-deploy")
    assert found["function_id"] == function_id


def test_a_fault_of_a_call_names_request_invocation_and_function(logging: Server, client: httpx.Client) -> None:
    function_id = broken_function(logging, client, "Broken")

    reply = Kapso(client).invoke(function_id, {}, headers={"X-Request-Id": "broken-call"})

    assert reply.status_code == 500
    fault = reply.json()["error"].removeprefix("Internal server error (").removesuffix(")")
    found = line(logging, "request failed", fault=fault)
    assert (found["request_id"], found["function_id"]) == ("broken-call", function_id)
    assert found["invocation_id"] == reply.headers["x-invocation-id"]
    assert "cannot open what is sealed" in found["exception"]
    assert client.get(f"/isolet/v1/invocations/{found['invocation_id']}").json()["outcome"] == "internal"


def test_a_fault_of_an_asynchronous_call_names_invocation_and_function(logging: Server, client: httpx.Client) -> None:
    function_id = broken_function(logging, client, "Async broken")

    call_id = Altair(client).start("async-broken", b"{}")

    found = line(logging, "background task failed", invocation_id=call_id)
    assert (found["function_id"], found["job_id"]) == (function_id, call_id)
    assert Altair(client).ended(call_id)["error"] == "internal error"


def test_what_an_instance_logs_later_names_its_function_and_not_the_deploys_request(
    logging: Server, client: httpx.Client
) -> None:
    kapso = Kapso(client)
    client.headers["x-request-id"] = "started-it"
    function_id = kapso.deployed(CODE, "Killed", runtime_config={"timeout_ms": 200})

    assert kapso.invoke(function_id, "spin").status_code == 500

    found = line(logging, "instance killed", function_id=function_id)
    assert found["limit"] == "time"
    assert "request_id" not in found


def test_a_failed_call_and_a_refused_one_leave_a_line_each(logging: Server, client: httpx.Client) -> None:
    kapso = Kapso(client)
    code = "async function handler(request, ctx) { throw new Error(`no\\n${ctx.WORD}`); }"
    function_id = kapso.deployed(code, "thrower")
    secret = {"value": "a-long-hush-value"}
    assert client.put(f"/isolet/v1/functions/{function_id}/secrets/WORD", json=secret).is_success
    failed = kapso.invoke(function_id)
    told = line(logging, "call failed", invocation_id=failed.json()["invocation_id"])
    assert (told["level"], told["function_id"], told["status"]) == ("info", function_id, 500)
    assert told["error"] == "Error: no [redacted]"
    assert len(lines(logging, "call failed", function_id=function_id)) == 1

    draft = client.post(f"{kapso.base}/functions", json={"function": {"name": "draft", "code": CODE}}).json()["data"]
    assert kapso.invoke(draft["id"]).status_code == 422
    refused = line(logging, "call refused", function_id=draft["id"])
    assert (refused["level"], refused["reason"]) == ("info", "Function is not deployed")
