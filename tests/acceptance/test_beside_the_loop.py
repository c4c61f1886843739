"""What takes long because a tenant's text is large runs in threads of the server, so that its loop serves everybody."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.support.kapso import Kapso
from tests.support.projects import Project, new_project
from tests.support.server import Server
from tests.support.shares import loop_share
from tests.support.workflows import a_line, a_node

# It is half of that; where the loop reads graphs itself, it is more than a third.
_SHARE_MAX = 1 / 4
_TEXT = "\n".join(["b" * 50] * 30)
_GRAPH = a_line(*(a_node(f"n{n}", "set_variable", variable_name="a", variable_value=_TEXT) for n in range(480)))
_OBJECTS = {"nodes": [{}] * 12_000, "edges": [{"a": 1}] * 12_000}


@pytest.fixture(scope="module")
def project(server: Server) -> Iterator[Project]:
    with server.client() as root, new_project(server, root) as project:
        yield project


@pytest.fixture(scope="module")
def flow_id(project: Project) -> str:
    made = project.client.post(
        f"/isolet/v1/projects/{project.slug}/flows", json={"name": "Large", "definition": _GRAPH}
    )
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/isolet/v1/flows/{flow_id}/check", {"definition": _GRAPH}, 200),
        ("POST", "/isolet/v1/flows/{flow_id}/check", {"definition": _OBJECTS}, 200),
        ("PATCH", "/isolet/v1/flows/{flow_id}", {"definition": _GRAPH}, 200),
        ("POST", "/isolet/v1/projects/{slug}/flows", {"name": "Other", "definition": _OBJECTS}, 422),
    ],
    ids=["a graph", "a graph of many values", "a change", "a new flow that is refused"],
)
def test_large_bodies(
    server: Server, project: Project, flow_id: str, method: str, path: str, body: Any, status: int
) -> None:
    address = path.format(flow_id=flow_id, slug=project.slug)
    assert _share(server, lambda: project.client.request(method, address, json=body), status) < _SHARE_MAX


def test_too_many_values_in_a_field_of_a_page_are_not_read(server: Server, project: Project, flow_id: str) -> None:
    here, origin = f"/dashboard/projects/{project.slug}", {"Origin": server.pages_url}
    with httpx.Client(base_url=server.pages_url, headers=origin, trust_env=False, timeout=60) as pages:
        pages.post("/dashboard/login", data={"key": project.key()})
        found = re.search(r'name="form_token" value="([^"]+)"', pages.get(f"{here}/keys").text)
        assert found is not None
        form = {"form_token": found[1], "lock_version": "0", "definition": "[" + "{}," * 100_000 + "{}]"}
        reply = pages.post(f"{here}/flows/{flow_id}/definition", data=form)
    assert reply.status_code == 422
    assert "The graph must be JSON: it has more than 65536 values" in reply.text


def test_the_legacy_shape_of_a_large_reply(server: Server, project: Project) -> None:
    """It was read whole, and parsed, on the loop: 100 MB of it if the function wanted."""
    older = Kapso(project.client, "/api/v1")
    code = """const text = "[" + "{},".repeat(1_000_000) + "1]";
    async function handler() { return new Response(text, { headers: { "content-type": "application/json" } }); }"""
    function_id = older.deployed(code, invoke_response_mode="wrapped")
    assert _share(server, lambda: older.invoke(function_id, {}), 200) < _SHARE_MAX


def test_a_large_report_of_an_error(server: Server, project: Project) -> None:
    """A function shares its process with what writes reports, and can write one itself: of any text."""
    code = """const [text, stack] = ["a".repeat(80_000), "a".repeat(9_000)];
    const report = JSON.stringify({ message: text, said: text, stack });
    export default { fetch() { return new Response(report, { status: 500, headers: { "x-isolet-error": "1" } }); } };"""
    made = project.client.put(
        f"/isolet/v1/projects/{project.slug}/functions/report?wait=60",
        json={"code": code, "variables": {f"V{size}": "a" * size for size in range(4, 100)}},
    )
    assert made.status_code in (200, 201), made.text
    path = f"/platform/v1/functions/{made.json()['id']}/invoke"
    assert _share(server, lambda: project.client.post(path, json={}), 500) < _SHARE_MAX


def _share(server: Server, ask: Callable[[], httpx.Response], status: int) -> float:
    """The least of a few: the loop has other work at times."""
    found = []
    for _ in range(3):
        replies: list[httpx.Response] = []
        found.append(loop_share(server.process.pid, lambda replies=replies: replies.append(ask())))  # type: ignore[misc]
        assert replies[0].status_code == status, replies[0].text
    return min(found)
