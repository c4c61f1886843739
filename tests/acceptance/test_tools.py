"""Functions as tools of agents: the native routes, and the endpoint of the Model Context Protocol."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.support.projects import Project, new_project
from tests.support.server import Server

ECHO = """
export default {
  async fetch(request) {
    const told = await request.json();
    const { say } = told.input;
    if (say === "throw") throw new Error("no such order");
    const html = { status: 502, headers: { "content-type": "text/html" } };
    if (say === "html") return new Response("<h1>Bad gateway</h1>", html);
    if (say === "large") return new Response("x".repeat(1_100_000));
    if (say === "many") return new Response("[" + "[],".repeat(70_000) + "[]]");
    if (say === "odd") return new Response('{"a": NaN}');
    if (say === "half") return new Response('{"a": "\\\\ud800"}');
    const packed = { headers: { "content-encoding": "gzip" } };
    if (say === "packed") return Response.json({ plain: "text" }, packed);
    if (say === "bomb") return new Response("x".repeat(1_100_000), packed);
    if (say === "nothing") return new Response(null, { status: 204 });
    return Response.json(told);
  }
}
"""
SCHEMA = {"type": "object", "properties": {"say": {"type": "string", "maxLength": 10}}, "required": ["say"]}


def put(client: httpx.Client, slug: str, name: str, **members: Any) -> dict[str, Any]:
    # In ASCII: half a surrogate pair has no UTF-8.
    reply = client.put(f"/isolet/v1/projects/{slug}/functions/{name}?wait=60", content=json.dumps(members))
    assert reply.status_code in (200, 201), reply.text
    found: dict[str, Any] = reply.json()
    return found


@pytest.fixture(scope="module")
def shop(server: Server, root: httpx.Client) -> Iterator[Project]:
    with new_project(server, root) as project:
        put(
            project.client,
            project.slug,
            "echo",
            code=ECHO,
            tool={"description": "Says it \ud800 again", "mode": "read_write", "input_schema": SCHEMA},
        )
        put(project.client, project.slug, "Früchte zählen", code=ECHO, description="Counts fruit", tool={})
        put(project.client, project.slug, "hidden", code=ECHO)
        yield project


def call(shop: Project, name: str, arguments: Any, client: httpx.Client | None = None) -> httpx.Response:
    url = f"/isolet/v1/projects/{shop.slug}/tools/{name}/call"
    return (client or shop.client).post(url, json={"arguments": arguments})


def listed(shop: Project, query: str = "") -> dict[str, Any]:
    found: dict[str, Any] = shop.client.get(f"/isolet/v1/projects/{shop.slug}/tools{query}").json()
    return found


def test_the_functions_that_say_so_are_tools(shop: Project) -> None:
    found = listed(shop)
    function = shop.client.get(f"/isolet/v1/projects/{shop.slug}/functions/echo").json()
    assert function["tool"]["input_schema"] == SCHEMA
    assert found["next_cursor"] is None
    assert found["data"] == [
        {
            "name": "echo",
            "description": "Says it \ud800 again",
            "input_schema": SCHEMA,
            "read_only": False,
            "function_id": function["id"],
        },
        {
            **found["data"][1],
            "name": "fruchte-zahlen",
            "description": "Counts fruit",
            "input_schema": {"type": "object"},
        },
    ]
    first = listed(shop, "?limit=1")
    assert [one["name"] for one in first["data"]] == ["echo"]
    assert listed(shop, f"?limit=1&cursor={first['next_cursor']}")["data"] == found["data"][1:]


def test_a_function_of_butterbases_api_is_a_tool_by_its_settings(shop: Project) -> None:
    body = {"name": "older", "code": ECHO, "agent_tool": True, "agent_tool_description": "Older"}
    assert shop.client.post(f"/v1/{shop.slug}/functions", json=body).is_success
    assert [one["description"] for one in listed(shop)["data"] if one["name"] == "older"] == ["Older"]
    function = shop.client.get(f"/isolet/v1/projects/{shop.slug}/functions/older").json()
    told = shop.client.patch(f"/isolet/v1/functions/{function['id']}", json={"tool": None})
    assert told.json()["tool"] is None
    assert "older" not in [one["name"] for one in listed(shop)["data"]]


def test_a_call_gives_kapsos_body_and_returns_the_reply(shop: Project) -> None:
    reply = call(shop, "echo", {"say": "hi"})
    assert reply.status_code == 200
    told = reply.json()
    assert told["is_error"] is False
    assert told["result"]["input"] == {"say": "hi"}
    for name in ("Fr%C3%BCchte%20z%C3%A4hlen", "fruchte-zahlen"):
        assert call(shop, name, {"a": [None]}).json()["result"]["input"] == {"a": [None]}
    assert told["result"]["execution_context"] == {"vars": {}, "system": {}, "context": {}, "metadata": {}}
    assert reply.headers["x-invocation-id"] == told["invocation_id"]
    record = shop.client.get(f"/isolet/v1/invocations/{told['invocation_id']}").json()
    assert (record["function_name"], record["status"]) == ("echo", "succeeded")


@pytest.mark.parametrize(
    ("say", "is_error", "result"),
    [
        ("throw", True, "no such order"),
        ("html", True, "<h1>Bad gateway</h1>"),
        ("large", True, "The reply is larger than 1048576 bytes"),
        ("many", True, "The function's reply has more than 65536 values"),
        ("odd", False, '{"a": NaN}'),
        ("half", False, {"a": "\ud800"}),
        ("packed", False, {"plain": "text"}),
        ("bomb", True, "The reply is larger than 1048576 bytes"),
        ("nothing", False, None),
    ],
)
def test_what_a_function_answers_is_a_result(shop: Project, say: str, is_error: bool, result: Any) -> None:
    reply = call(shop, "echo", {"say": say})
    assert reply.status_code == 200, reply.text
    told = reply.json()
    assert told["is_error"] is is_error
    assert told["invocation_id"]
    if say == "throw":
        assert result in told["result"]
    else:
        assert told["result"] == result


@pytest.mark.parametrize(
    ("name", "body", "status", "said"),
    [
        ("echo", {"arguments": {}}, 422, "'say' is a required property"),
        ("echo", {"arguments": {"say": "x" * 11}}, 422, "is too long"),
        ("echo", {"arguments": []}, 422, "arguments"),
        ("echo", {"arguments": {"say": "hi"}, "more": 1}, 422, "more"),
        ("hidden", {"arguments": {}}, 404, "Tool not found"),
        ("none", {"arguments": {}}, 404, "Tool not found"),
        ("%00%0a", {"arguments": {}}, 404, "Tool not found"),
    ],
)
def test_a_call_that_is_refused(shop: Project, name: str, body: Any, status: int, said: str) -> None:
    reply = shop.client.post(f"/isolet/v1/projects/{shop.slug}/tools/{name}/call", json=body)
    assert (reply.status_code, said in reply.json()["error"]["message"]) == (status, True), reply.text


@pytest.mark.parametrize(
    ("tool", "said"),
    [
        ({"input_schema": {"type": "nothing"}}, "tool.input_schema"),
        ({"input_schema": {"properties": {"a": {"pattern": "(?<!a)b"}}}}, "not supported"),
        ({"input_schema": [1]}, "must be"),
        ({"mode": "both"}, "must be one of read_only, read_write"),
        ({"x": 1}, "tool.x is not known"),
        ("yes", "tool"),
    ],
)
def test_settings_of_a_tool_that_are_refused(shop: Project, tool: Any, said: str) -> None:
    url = f"/isolet/v1/projects/{shop.slug}/functions/hidden"
    reply = shop.client.put(url, json={"tool": tool})
    assert (reply.status_code, said in reply.json()["error"]["message"]) == (422, True), reply.text
    assert shop.client.get(url).json()["tool"] is None


NEWER = "2026-07-28"
OLDER = "2025-06-18"
_META = {
    "io.modelcontextprotocol/protocolVersion": NEWER,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
}


def mcp(shop: Project, method: str, params: dict[str, Any], version: str = NEWER, **headers: str) -> httpx.Response:
    message = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
    sent = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": version}
    if version == NEWER:
        message["params"] = {**params, "_meta": _META}
        sent |= {"Mcp-Method": method, **({"Mcp-Name": params["name"]} if "name" in params else {})}
    sent |= {"Content-Type": "application/json", **headers}
    return shop.client.post(f"/isolet/v1/projects/{shop.slug}/mcp", content=json.dumps(message), headers=sent)


@pytest.mark.parametrize("version", [NEWER, OLDER])
def test_clients_of_both_revisions_list_and_call(shop: Project, version: str) -> None:
    reply = mcp(shop, "tools/list", {}, version)
    assert reply.status_code == 200, reply.text
    tools = {tool["name"]: tool for tool in reply.json()["result"]["tools"]}
    assert set(tools) == {"echo", "fruchte-zahlen"}
    assert tools["echo"]["inputSchema"] == SCHEMA
    assert tools["echo"]["description"] == "Says it ? again"
    assert tools["echo"]["annotations"] == {"readOnlyHint": False, "destructiveHint": True}
    assert tools["fruchte-zahlen"]["annotations"] == {"readOnlyHint": True, "destructiveHint": False}

    told = mcp(shop, "tools/call", {"name": "echo", "arguments": {"say": "hi"}}, version).json()["result"]
    assert told.get("isError") is not True
    assert json.loads(told["content"][0]["text"])["input"] == {"say": "hi"}
    for say, said in [("throw", "no such order"), ("html", "<h1>"), ("x" * 11, "is too long")]:
        told = mcp(shop, "tools/call", {"name": "echo", "arguments": {"say": say}}, version).json()["result"]
        assert told["isError"] is True
        assert said in told["content"][0]["text"]
    unknown = mcp(shop, "tools/call", {"name": "hidden", "arguments": {}}, version).json()["error"]
    assert (unknown["code"], unknown["message"]) == (-32602, "Unknown tool: hidden")


def test_an_older_client_begins_with_a_handshake(shop: Project) -> None:
    params = {"protocolVersion": OLDER, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    told = mcp(shop, "initialize", params, OLDER).json()["result"]
    assert (told["protocolVersion"], told["serverInfo"]["name"]) == (OLDER, "isolet")
    assert "tools" in told["capabilities"]
    note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": OLDER}
    reply = shop.client.post(f"/isolet/v1/projects/{shop.slug}/mcp", json=note, headers=headers)
    assert (reply.status_code, reply.content) == (202, b"")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:6274"}, 200),
        ({"X-API-Key": "wrong"}, 401),
        ({"MCP-Protocol-Version": "2031-01-01"}, 400),
    ],
)
def test_whom_the_endpoint_answers(shop: Project, headers: dict[str, str], status: int) -> None:
    assert mcp(shop, "tools/list", {}, **headers).status_code == status


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, -32700),
        (b"[]", 400, -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "no/such"}', 400, -32602),
        (b"[" * 100_000, 400, -32700),
        (b"[" + b"0," * 50_000, 400, "invalid_request"),
        (b'{"x": "' + b"," * 50_000, 400, -32700),
    ],
)
def test_messages_that_are_none(shop: Project, body: bytes, status: int, code: int | str) -> None:
    headers = {
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
        "MCP-Protocol-Version": NEWER,
    }
    reply = shop.client.post(f"/isolet/v1/projects/{shop.slug}/mcp", content=body, headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code), reply.text
    large = shop.client.post(f"/isolet/v1/projects/{shop.slug}/mcp", content=b" " * 400_000, headers=headers)
    assert large.status_code == 413


@pytest.mark.parametrize("version", [NEWER, OLDER])
def test_texts_without_an_encoding_are_answered(shop: Project, version: str) -> None:
    """Half a surrogate pair, wherever a message may have one. Older revisions refuse it."""
    half = "\ud800"
    replies = [
        mcp(shop, "tools/call", {"name": half, "arguments": {}}, version, **{"Mcp-Name": "x"}),
        mcp(shop, "tools/call", {"name": "echo", "arguments": {"say": half}}, version),
        mcp(shop, "tools/list", {"cursor": half}, version),
        mcp(shop, half, {}, version, **{"Mcp-Method": "x"}),
    ]
    assert [reply.status_code for reply in replies if reply.status_code >= 500] == []
    assert all(reply.json()["jsonrpc"] == "2.0" for reply in replies)
    if version == NEWER:
        told = json.loads(replies[1].json()["result"]["content"][0]["text"])
        assert told["input"] == {"say": "?"}


def test_roles(shop: Project, server: Server) -> None:
    with server.client(shop.key("read")) as reader, server.client(shop.key("invoke")) as caller:
        assert reader.get(f"/isolet/v1/projects/{shop.slug}/tools").status_code == 200
        assert call(shop, "echo", {"say": "hi"}, reader).status_code == 403
        assert call(shop, "echo", {"say": "hi"}, caller).status_code == 200


def test_a_list_of_many_large_tools_comes_in_pages(server: Server, root: httpx.Client) -> None:
    """Clients follow `nextCursor`; no page is large."""
    large = {"type": "object", "description": "x" * 16_000}
    with new_project(server, root) as project:
        code = "export default { fetch: () => new Response('ok') }"
        names = [f"tool-{number:02}" for number in range(10)]
        for name in names:
            put(project.client, project.slug, name, code=code, tool={"input_schema": large})
        found: list[str] = []
        params: dict[str, Any] = {}
        while len(found) < 20:
            reply = mcp(project, "tools/list", params)
            told = reply.json()["result"]
            assert len(reply.content) < 150_000
            found += [tool["name"] for tool in told["tools"]]
            if "nextCursor" not in told:
                break
            params = {"cursor": told["nextCursor"]}
        assert found == names


@pytest.mark.parametrize("mode", ["legacy", NEWER])
async def test_the_protocols_own_client_gets_on_with_it(shop: Project, mode: str) -> None:
    """Its client of this release, as an older one and as a newer one speaks."""
    url = f"{shop.server.url}/isolet/v1/projects/{shop.slug}/mcp"
    headers = {"Authorization": f"Bearer {shop.key('invoke')}"}
    async with (
        httpx2.AsyncClient(headers=headers, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert {"echo", "fruchte-zahlen"} <= set(names)
        told = await client.call_tool("echo", {"say": "hi"})
        assert not told.is_error
        assert json.loads(told.content[0].text)["input"] == {"say": "hi"}  # type: ignore[union-attr]
        assert (await client.call_tool("echo", {"say": 1})).is_error
