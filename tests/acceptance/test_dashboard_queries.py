"""However much there is of something: a page that lists it asks the database at most three times."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from isolet.dashboard.pages.function_metrics import WINDOWS
from tests.support.server import NO_CAS, ROOT_KEY, Server
from tests.support.statements import Statements
from tests.support.workflows import a_line, a_node

_QUERIES_MAX = 3
_V1 = "/isolet/v1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("queries")


@pytest.fixture(scope="module")
def statements(folder: Path) -> Statements:
    return Statements(folder / "statements")


@pytest.fixture(scope="module")
def function_id(server: Server) -> str:
    """Called twice, with a schedule, in a project that has some of everything else."""
    with server.client() as root:
        here = f"{_V1}/projects/default"
        code = "export default { fetch: () => new Response('hello') };"
        made = root.put(f"{here}/functions/hello", params={"wait": 60}, json={"code": code, "access": "public"})
        function_id = str(made.raise_for_status().json()["id"])
        root.post(f"{_V1}/functions/{function_id}/schedules", json={"cron": "0 3 * * *"}).raise_for_status()
        for _ in range(2):
            root.get("/f/default/hello/").raise_for_status()
            flow = {"name": f"Flow {function_id}", "definition": a_line(a_node("end", "handoff"))}
        flow_id = root.post(f"{here}/flows", json=flow).raise_for_status().json()["id"]
        root.patch(f"{_V1}/flows/{flow_id}", json={"status": "active"}).raise_for_status()
        root.post(f"{here}/flows/{flow_id}/executions", json={}).raise_for_status()
        root.put(f"{here}/kv/key", content=b"{}").raise_for_status()
        for number in range(2):
            root.post(f"{here}/keys", json={"name": f"key {number}", "role": "read"}).raise_for_status()
            root.post(f"{_V1}/projects", json={"slug": f"other-{number}"}).raise_for_status()
    return function_id


@pytest.fixture(scope="module")
def server(folder: Path, statements: Statements) -> Iterator[Server]:
    with Server(folder / "data", statements=statements) as server:
        yield server


@pytest.fixture(scope="module")
def pages(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.pages_url, trust_env=False, verify=NO_CAS, timeout=60) as client:
        client.post("/dashboard/login", data={"key": ROOT_KEY}, headers={"Origin": server.pages_url})
        yield client


def test_pages_that_list_something_ask_three_times_at_most(
    pages: httpx.Client, statements: Statements, function_id: str
) -> None:
    function = f"functions/{function_id}"
    of_function = ("invocations", "invocations?status=failed&q=x", "logs", "secrets", "triggers", "try", "versions")
    of_project = ("functions", "functions?q=h", "kv", "sql", "queue", "queue?status=failed", "queue/callbacks")
    addresses = [
        *("/dashboard/projects", "/dashboard/system", "/dashboard/sessions"),
        *(f"/dashboard/projects/default/{function}/{tab}" for tab in of_function),
        *(f"/dashboard/projects/default/{function}/metrics?window={window}" for window in WINDOWS),
        *(f"/dashboard/projects/default/{name}" for name in of_project),
        *(f"/dashboard/projects/default/{name}" for name in ("flows", "runs", "realtime", "keys", "usage")),
    ]
    asked = {address: statements.of(partial(_get, pages, address)) for address in addresses}
    assert {address: found for address, found in asked.items() if len(found) > _QUERIES_MAX} == {}
    # They are seen at all.
    assert "FROM functions" in asked[f"/dashboard/projects/default/{function}/logs"][0]


def test_what_a_page_read_is_not_what_the_next_one_shows(pages: httpx.Client, server: Server, function_id: str) -> None:
    address = f"/dashboard/projects/default/functions/{function_id}/settings"
    with server.client() as root:
        for text in ("one thing", "another thing"):
            body = {"description": text}
            root.patch(f"{_V1}/functions/{function_id}", json=body).raise_for_status()
            assert text in pages.get(address).text


def test_a_form_that_is_refused_keeps_what_was_typed(pages: httpx.Client, server: Server, function_id: str) -> None:
    here = f"/dashboard/projects/default/functions/{function_id}"
    found = re.search(r'name="form_token" value="([0-9a-f]{64})"', pages.get(f"{here}/settings").text)
    assert found is not None

    def refuse(tab: str, **form: str) -> str:
        headers = {"Origin": server.pages_url}
        reply = pages.post(f"{here}/{tab}", data={"form_token": found[1], **form}, headers=headers)
        assert reply.status_code in (400, 422), reply.text
        return reply.text

    typed = {"name": "typed name", "description": "typed description", "hosts": "typed.example", "access": "user"}
    typed |= {"cors": "function", "attempts": "7"}
    limits = {"timeout_ms": "typed", "cpu_ms": "11", "memory_limit_mb": "22", "concurrency": "33"}
    tool = {"tool_mode": "read_write", "tool_description": "typed tool", "tool_schema": '{"typed": 1}'}
    limits["max_instances"] = "44"
    said = refuse("settings", **typed, **limits, **tool, public_endpoint="1")
    assert "Timeout (ms) must be a whole number" in said
    values = ("typed name", "typed description", "typed.example", "typed", "11", "22", "33", "44", "7", "typed tool")
    assert [value for value in values if f'value="{value}"' not in said] == []
    assert re.findall(r'<option value="(\w+)" selected>', said) == ["user", "function", "read_write"]
    assert "{&#34;typed&#34;: 1}</textarea>" in said
    assert 'name="public_endpoint" value="1" checked' in said
    # What the API refuses, as well; and a box that was emptied stays empty.
    said = refuse("settings", **typed | {"hosts": "not a host!"}, **limits | {"timeout_ms": "12"}, **tool)
    assert 'value="not a host!"' in said
    assert 'name="public_endpoint" value="1">' in said
    # It is said once, with a script in the page and without.
    assert refuse("try", method="GET", path="/", headers="none").count("is no header") == 1


def test_a_reply_that_breaks_off_is_shown_as_far_as_it_came(pages: httpx.Client, server: Server) -> None:
    code = """export default () => new Response(new ReadableStream({
      start(control) { control.enqueue(new TextEncoder().encode("a part")); },
      async pull() { await scheduler.wait(50); throw new Error("db gone"); },
    }));"""
    with server.client() as root:
        put = root.put(f"{_V1}/projects/default/functions/broken", params={"wait": 60}, json={"code": code})
        here = f"/dashboard/projects/default/functions/{put.raise_for_status().json()['id']}"
    found = re.search(r'name="form_token" value="([0-9a-f]{64})"', pages.get(f"{here}/try").text)
    assert found is not None
    form = {"form_token": found[1], "method": "POST", "path": "/", "body": "{}"}
    shown = pages.post(f"{here}/try", data=form, headers={"Origin": server.pages_url})
    assert (shown.status_code, ">a part</pre>" in shown.text, "Error: db gone" in shown.text) == (200, True, True)


def _get(pages: httpx.Client, address: str) -> None:
    reply = pages.get(address)
    assert reply.status_code == 200, (address, reply.text)
