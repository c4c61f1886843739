"""Lists and starts read what they show: no code, whole pages, and no more memory when more is stored."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import psutil
import pytest

from isolet.database import functions as stored
from isolet.database import projects as stored_projects
from isolet.database.connection import Database
from isolet.database.engine import sqlite_url
from isolet.domain.functions import Function
from isolet.ids import FunctionId, ProjectId, new_id
from tests.support.butterbase import Butterbase
from tests.support.kapso import Kapso
from tests.support.projects import Project, new_project
from tests.support.server import Server
from tests.support.waiting import wait_until

V1 = "/isolet/v1"
HELLO = 'async function handler() { return new Response("hello"); }'
ENDLESS = "while (true) {}\nexport default () => new Response();"
_MB = 1024 * 1024
_DRAFTS = 160


async def _fill(folder: Path) -> None:
    """Drafts of 1 MB each in the default project, past the API."""
    database = Database(sqlite_url(folder / "isolet.db"))
    await database.open()
    try:
        (project,) = await database.read(stored_projects.list_projects)
        for number in range(_DRAFTS):
            await database.write(stored.insert_function, _draft(project.id, number))
    finally:
        await database.close()


def _draft(project_id: ProjectId, number: int) -> Function:
    code = HELLO + "\n//" + f"{number:04}" * (_MB // 4 - 100)
    return Function(
        id=FunctionId(new_id()), project_id=project_id, name=f"d{number}", slug=f"d{number}", code=code, updated_at_ms=1
    )


def _rss(server: Server) -> int:
    return int(psutil.Process(server.process.pid).memory_info().rss)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server that was started on 160 MB of drafts, and what it weighed when it had none."""
    folder = tmp_path_factory.mktemp("full") / "data"
    with Server(folder) as empty:
        weight = _rss(empty)
    asyncio.run(_fill(folder))
    with Server(folder) as running:
        running.empty_bytes = weight  # type: ignore[attr-defined]
        yield running


def test_a_start_reads_no_code(full: Server) -> None:
    assert _rss(full) < full.empty_bytes + 40 * _MB  # type: ignore[attr-defined]
    with full.client() as client:
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        f"{V1}/functions?limit=500",
        f"{V1}/functions?limit=1",
        "/v1/default/functions",
        "/v1/default/functions/d7/logs",
        "/spaces/default/functions",
    ],
)
def test_a_list_reads_no_code(full: Server, path: str) -> None:
    with full.client() as client:
        before = _rss(full)
        replies = [client.get(path) for _ in range(3)]
        assert [reply.status_code for reply in replies] == [200] * 3
        assert _rss(full) < before + 40 * _MB
    assert "hello" not in replies[0].text
    assert "code" not in json.dumps(replies[0].json())


def test_kapsos_list_is_whole_and_streams(full: Server) -> None:
    """All functions, no paging, each a whole function object."""
    with full.client() as client, client.stream("GET", "/platform/v1/functions") as reply:
        before = most = _rss(full)
        parts = []
        for part in reply.iter_bytes(_MB):
            parts.append(part)
            most = max(most, _rss(full))
    data = json.loads(b"".join(parts))["data"]
    assert most < before + 60 * _MB
    assert [one["name"] for one in data] == [f"d{number}" for number in range(_DRAFTS)]
    assert {len(one["code"]) // 100_000 for one in data} == {10}


def test_kapsos_list_of_nothing_is_empty(kapso: Kapso) -> None:
    assert kapso.client.get("/platform/v1/functions").json() == {"data": []}
    assert kapso.client.get("/v1/" + Butterbase(kapso.client, kapso.client).app + "/functions").json() == {
        "functions": []
    }


def test_functions_are_paged_from_one_to_the_next(kapso: Kapso) -> None:
    ids = [kapso.create(HELLO, f"f{number}")["id"] for number in range(5)]
    seen: list[str] = []
    cursor = ""
    while True:
        page = kapso.client.get(f"{V1}/functions?limit=2{cursor}").json()
        seen += [one["id"] for one in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == ids
    assert kapso.client.get(f"{V1}/functions?cursor=x").status_code == 422


@pytest.mark.parametrize("door", ["kapso", "native", "altair"])
def test_what_a_list_shows_may_hold_any_text(kapso: Kapso, door: str) -> None:
    text = '日本\u2028\x1b</script>"\\'
    kapso.create(HELLO, "odd", description=text)
    app = Butterbase(kapso.client, kapso.client).app
    path = {"kapso": "/platform/v1/functions", "native": f"{V1}/functions", "altair": f"/spaces/{app}/functions"}[door]
    (shown,) = kapso.client.get(path).json()["data"]
    assert shown["description"] == text


def test_the_default_project_loses_nothing_when_its_deletion_is_refused(full: Server) -> None:
    with full.client() as client:
        before = client.get("/v1/default/functions").json()
        assert client.delete(f"{V1}/projects/default").status_code == 409
        assert client.get("/v1/default/functions").json() == before
        assert len(before["functions"]) == _DRAFTS


def test_a_project_has_no_more_functions_than_it_may(server: Server, root: httpx.Client) -> None:
    with new_project(server, root) as project:
        limited = root.patch(f"{V1}/projects/{project.slug}", json={"limits": {"functions": 2}})
        assert limited.status_code == 200, limited.text
        kapso, client = Kapso(project.client), project.client
        for name in ("one", "two"):
            kapso.create(HELLO, name)
        butterbase = client.post(f"/v1/{project.slug}/functions", json={"name": "three", "code": HELLO})
        source = {"code": "YXN5bmMgZnVuY3Rpb24gaGFuZGxlcigpIHt9"}
        altair = client.post(f"/spaces/{project.slug}/functions", json={"name": "three", "source": source})
        refused = {
            base: client.post(f"{base}/functions", json={"function": {"name": "three", "code": HELLO}})
            for base in ("/platform/v1", "/api/v1")
        }
        assert {reply.status_code for reply in (*refused.values(), butterbase, altair)} == {422}
        assert "limit" in refused["/platform/v1"].json()["error"]
        assert butterbase.json()["error"]["code"] == "QUOTA_EXCEEDED"
        assert altair.json()["error"]["status"] == 422
        names = [one["name"] for one in client.get("/platform/v1/functions").json()["data"]]
        assert names == ["one", "two"]
        assert client.post(f"/v1/{project.slug}/functions", json={"name": "two", "code": HELLO}).status_code == 200
        _open_up(root, project)
        kapso.create(HELLO, "three")


def _open_up(root: httpx.Client, project: Project) -> None:
    assert root.patch(f"{V1}/projects/{project.slug}", json={"limits": {"functions": 3}}).status_code == 200


def test_a_slow_project_delays_nobody_elses_deploy(home: Project, stranger: Project) -> None:
    """Forty modules that never load take their turns; the stranger's deploy does not wait behind them."""
    slow, fast = Kapso(home.client), Kapso(stranger.client)
    for number in range(40):
        made = slow.create(ENDLESS, f"endless-{number}")
        assert slow.client.post(f"/platform/v1/functions/{made['id']}/deploy").status_code == 202

    fast.deployed(HELLO)

    waiting = [one for one in slow.client.get(f"{V1}/functions").json()["data"] if one["status"] == "draft"]
    assert len(waiting) > 20, "they were still waiting for their turns"


def test_of_the_deploys_that_wait_only_the_newest_is_done(kapso: Kapso) -> None:
    function_id = kapso.create(ENDLESS)["id"]
    kapso.client.patch(f"{V1}/functions/{function_id}", json={"cpu_ms": 1_000})
    assert kapso.client.post(f"/platform/v1/functions/{function_id}/deploy").status_code == 202
    for number in range(10):
        code = f'async function handler() {{ return new Response("{number}"); }}'
        kapso.client.patch(f"/platform/v1/functions/{function_id}", json={"function": {"code": code}})
        assert kapso.client.post(f"/platform/v1/functions/{function_id}/deploy").status_code == 202

    function = kapso.wait_deployed(function_id)

    assert (function["status"], kapso.invoke(function_id, {}).text) == ("deployed", "9")
    # Each deploy has a number, those that made way too.
    assert function["version"] == 10
    versions = kapso.client.get(f"{V1}/functions/{function_id}/versions").json()["data"]
    assert [one["version"] for one in versions] == [10]


def test_waiting_deploys_hold_no_code(tmp_path: Path) -> None:
    """A hundred and fifty deploys of 1 MB wait: the server, its store, and a server that starts on it stay small."""
    folder = tmp_path / "data"
    with Server(folder) as server, server.client() as client:
        kapso = Kapso(client)
        made = kapso.create(ENDLESS + "\n//" + "x" * (_MB - 100))["id"]
        client.patch(f"{V1}/functions/{made}", json={"cpu_ms": 300_000})
        before, stored_bytes = _rss(server), _size(folder)
        for _ in range(150):
            assert client.post(f"/platform/v1/functions/{made}/deploy").status_code == 202
        assert _rss(server) < before + 60 * _MB
        assert _size(folder) < stored_bytes + 40 * _MB
        server.kill()
    with Server(folder) as again:
        assert _rss(again) < before + 60 * _MB


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("isolet.db*"))


def test_an_endless_module_is_given_processor_time_not_a_deadline(kapso: Kapso) -> None:
    function_id = kapso.create(ENDLESS)["id"]
    limits = kapso.client.patch(f"{V1}/functions/{function_id}", json={"cpu_ms": 200})
    assert limits.status_code == 200

    function = kapso.deploy(function_id)

    assert function["status"] == "error"
    assert "CPU" in function["deploy_error"]["message"]
    assert "200 ms" in function["deploy_error"]["message"]


def test_a_function_whose_deploys_wait_can_be_deleted(kapso: Kapso) -> None:
    function_id = kapso.create(HELLO)["id"]
    for _ in range(5):
        kapso.client.post(f"/platform/v1/functions/{function_id}/deploy")
    assert kapso.client.delete(f"/platform/v1/functions/{function_id}").status_code == 204
    wait_until(lambda: kapso.client.get(f"/platform/v1/functions/{function_id}").status_code == 404)


def test_projects_and_keys_come_in_pages_that_changes_do_not_shift(
    server: Server, root: httpx.Client, home: Project
) -> None:
    with new_project(server, root) as other:
        slugs, cursor = [], ""
        while True:
            page = root.get(f"{V1}/projects?limit=1{cursor}").json()
            slugs += [project["slug"] for project in page["data"]]
            if page["next_cursor"] is None:
                break
            if page["next_cursor"] == "default":
                # Before what was seen: a page counted by places would begin with the last one again.
                root.post(f"{V1}/projects", json={"slug": f"a-{home.slug}"})
            cursor = f"&cursor={page['next_cursor']}"
        root.delete(f"{V1}/projects/a-{home.slug}")
        assert len(slugs) == len(set(slugs))
        assert slugs == sorted(slugs)
        assert {"default", home.slug, other.slug} <= set(slugs)
        own = home.client.get(f"{V1}/projects").json()
        assert ([project["slug"] for project in own["data"]], own["next_cursor"]) == ([home.slug], None)
        assert home.client.get(f"{V1}/projects?cursor={home.slug}").json() == {"data": [], "next_cursor": None}
    for _ in range(3):
        home.key("invoke")
    path = f"{V1}/projects/{home.slug}/keys"
    first = home.client.get(f"{path}?limit=2").json()
    second = home.client.get(f"{path}?limit=2&cursor={first['next_cursor']}").json()
    assert [key["id"] for key in first["data"] + second["data"]] == [
        key["id"] for key in home.client.get(path).json()["data"]
    ]
    assert second["next_cursor"] is None
    for bad in ("X", "a%00", "-", "%F0%9F%98%80"):
        assert root.get(f"{V1}/projects?cursor={bad}").status_code == 422
        assert home.client.get(f"{path}?cursor={bad}").status_code == 422
