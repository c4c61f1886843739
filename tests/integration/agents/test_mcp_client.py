"""The client of MCP servers against a scripted one, through the real egress process."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from isolet.agents import mcp_client
from isolet.agents.mcp_client import McpClient
from isolet.domain.mcp_messages import value_of
from isolet.errors import Unanswered
from isolet.ids import ProjectId
from isolet.runtime.outgoing import Requests
from tests.support.receiver import Answer, Delivery, Receiver
from tests.support.runtime import Runtime

JSON = {"content-type": "application/json"}
EVENTS = {"content-type": "text/event-stream"}
TOOL = {"name": "find", "description": "Finds", "inputSchema": {"type": "object", "properties": {"q": {}}}}


@pytest.fixture
async def requests(runtime: Runtime) -> AsyncIterator[Requests]:
    egresses = runtime.egresses("127.0.0.0/8")
    try:
        yield Requests(egresses)
    finally:
        await egresses.close()


def results(asked: Mapping[str, Any]) -> dict[str, Any]:
    match asked["method"]:
        case "initialize":
            return {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}
        case "tools/list" if "cursor" not in asked["params"]:
            return {"tools": [TOOL, {"name": 7}, "odd"], "nextCursor": "more"}
        case "tools/list":
            return {"tools": [{"name": "big", "inputSchema": {"x": "y" * 20_000}}]}
        case _:
            told = json.dumps(asked["params"]["arguments"])
            return {"content": [{"type": "text", "text": told}, {"type": "image", "data": "AA=="}], "isError": False}


def with_handshake(streams: bool) -> Callable[[Delivery], Answer]:
    def answer(delivery: Delivery) -> Answer:
        if delivery.method == "DELETE":
            return Answer(status=204)
        asked = json.loads(delivery.body)
        if asked["method"] == "initialize":
            assert "mcp-session-id" not in delivery.headers
        else:
            assert delivery.headers["mcp-session-id"] == "s-1"
            assert delivery.headers["mcp-protocol-version"] == "2025-06-18"
        assert delivery.headers["authorization"] == "Bearer k"
        if "id" not in asked:
            return Answer(status=202)
        told = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": results(asked)})
        if not streams:
            return Answer(headers={**JSON, "mcp-session-id": "s-1"}, body=told.encode())
        note = json.dumps({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
        body = f": hello\r\n\r\nevent: message\r\ndata: {note}\r\n\r\nid: 1\r\ndata: {told}\r\n\r\n"
        return Answer(headers={**EVENTS, "mcp-session-id": "s-1"}, body=body.encode())

    return answer


def without_handshake(delivery: Delivery) -> Answer:
    asked = json.loads(delivery.body)
    if delivery.headers["mcp-protocol-version"] != "2026-07-28":
        return Answer(status=400, headers=JSON, body=b'{"jsonrpc": "2.0", "id": null, "error": {"code": -32022}}')
    assert delivery.headers["mcp-method"] == asked["method"]
    assert asked["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    if asked["method"] == "tools/call":
        assert delivery.headers["mcp-name"] == "find"
    return Answer(
        headers=JSON, body=json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": results(asked)}).encode()
    )


async def test_servers_of_all_kinds(requests: Requests) -> None:
    for answer in (with_handshake(False), with_handshake(True), without_handshake):
        with Receiver(answer) as server:
            client = McpClient(requests, ProjectId("p"), server.url, {"Authorization": "Bearer k", "Host": "evil"})
            tools = await client.connect()
            assert [(tool.name, tool.schema) for tool in tools] == [
                ("find", TOOL["inputSchema"]),
                ("big", {"type": "object"}),
            ]
            told = await client.call("find", {"q": "ü"})
            assert value_of(told) == json.dumps({"q": "ü"}) + "\n[image]"
            await client.close()
            methods = [delivery.method for delivery in server.deliveries]
            assert methods.count("DELETE") == (0 if answer is without_handshake else 1)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(headers={"content-type": "text/html"}, body=b"<h1>Hello</h1>"), "no message: <h1>Hello</h1>"),
        (Answer(headers=JSON, body=b"[" * 50_000), "no message"),
        (Answer(headers=JSON, body=b"x" * 1_500_000), "larger than"),
        (Answer(headers=EVENTS, body=b"data: x" + b"y" * 1_500_000), "larger than"),
        (Answer(headers=EVENTS, body=b": nothing\n\n"), "did not answer initialize"),
        (Answer(headers=JSON, body=b'{"id": 1, "error": {"message": "closed"}}'), "closed"),
        (Answer(headers=JSON, body=b'{"id": 1, "result": []}'), "has no result"),
        (Answer(headers=JSON, body=b'{"id": 99, "result": {}}'), "did not answer initialize"),
        (Answer(status=500, body=b"oh"), "answered 500: oh"),
        (Answer(status=404), "answered 404"),
        (Answer(status=307, headers={"location": "http://127.0.0.1:1/"}), "answered 307"),
    ],
)
async def test_servers_that_are_none(requests: Requests, answer: Answer, said: str) -> None:
    with Receiver(lambda _: answer) as server:
        client = McpClient(requests, ProjectId("p"), server.url, {})
        with pytest.raises(Unanswered, match=said):
            await client.connect()


async def test_a_server_that_hangs(requests: Requests, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_client, "CONNECT_TIMEOUT_S", 0.5)
    free = threading.Event()

    def hang(_: Delivery) -> Answer:
        free.wait(60)
        return Answer()

    with Receiver(hang) as server:
        try:
            with pytest.raises(Unanswered, match=r"did not answer within 0\.5 s"):
                await McpClient(requests, ProjectId("p"), server.url, {}).connect()
        finally:
            free.set()
