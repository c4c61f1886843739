"""Projects, keys and roles, and a function's limits and versions, through the native API."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import uuid
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from tests.support.kapso import Kapso, SharedKapso
from tests.support.projects import Project
from tests.support.server import ROOT_KEY, Server
from tests.support.waiting import wait_until

HELLO = 'async function handler() { return new Response("hello"); }'
V1 = "/isolet/v1"
JSON = {"Content-Type": "application/json"}
LIMITS = {
    "timeout_ms": (1, 86_400_000),
    "memory_limit_mb": (64, 1024),
    "concurrency": (1, 1000),
    "max_instances": (1, 64),
}


def code_of(reply: httpx.Response) -> str:
    """The stable code of an error in the native shape."""
    error = reply.json()["error"]
    assert isinstance(error["message"], str)
    assert error["message"]
    return str(error["code"])


def with_key(key: str) -> dict[str, dict[str, str]]:
    return {"headers": {"X-API-Key": key}}


@pytest.fixture
def slug(root: httpx.Client) -> str:
    """A slug that is free; a project that takes it leaves with the test."""
    slug = f"s-{uuid.uuid4().hex[:12]}"
    yield slug
    root.delete(f"{V1}/projects/{slug}")


# Projects.


def test_a_project_is_created_and_read(root: httpx.Client, slug: str) -> None:
    values = {"slug": slug, "name": "Shop", "plan": "pro", "allowed_origins": ["https://shop.example"]}

    created = root.post(f"{V1}/projects", json=values)

    project = created.json()
    assert created.status_code == 201
    assert {name: project[name] for name in values} == values
    assert str(uuid.UUID(project["id"])) == project["id"]
    assert datetime.fromisoformat(project["created_at"]).tzinfo is not None
    assert root.get(f"{V1}/projects/{slug}").json() == project
    assert project in root.get(f"{V1}/projects", params={"limit": 500}).json()["data"]


def test_limits_of_a_project_are_set_by_the_root_key_and_told_to_its_keys(root: httpx.Client, home: Project) -> None:
    address = f"{V1}/projects/{home.slug}"
    defaults = root.get(address).json()["limits"]

    changed = root.patch(address, json={"limits": {"functions": 3, "queued_mb": 7}}).json()

    assert changed["limits"] == {**defaults, "functions": 3, "queued_mb": 7}
    assert home.client.get(f"{V1}/limits").json()["project"] == changed["limits"]
    assert root.get(f"{V1}/limits").json()["project"] == defaults
    again = root.patch(address, json={"limits": {"functions": None}}).json()
    assert again["limits"] == {**defaults, "queued_mb": 7}
    assert root.get(address).json()["limits"] == again["limits"]


def test_a_project_is_created_with_limits(root: httpx.Client, slug: str) -> None:
    made = root.post(f"{V1}/projects", json={"slug": slug, "limits": {"storage_mb": 5}}).json()

    assert made["limits"]["storage_mb"] == 5


@pytest.mark.parametrize(
    "limits",
    [
        {"functions": 0},
        {"functions": -1},
        {"functions": 2**31},
        {"functions": "5"},
        {"functions": True},
        {"functions": 1.5},
        {"functions": {"a": 1}},
        {"functions": 5, "keys": 0},
        {"functions": 10**300},
        {"x" * 100_000: 1},
        {"speed": 1},
        {"": 1},
        {"a\nb\ud800": 1},
        [],
        None,
    ],
)
def test_limits_that_make_no_sense_change_nothing(root: httpx.Client, common_home: Project, limits: object) -> None:
    address = f"{V1}/projects/{common_home.slug}"
    before = root.get(address).json()

    refused = root.patch(address, content=json.dumps({"name": "new", "limits": limits}), headers=JSON)

    assert (refused.status_code, code_of(refused)) == (422, "invalid_input")
    assert root.get(address).json() == before


def test_a_project_does_not_set_its_own_limits(common_home: Project) -> None:
    assert (
        common_home.client.patch(f"{V1}/projects/{common_home.slug}", json={"limits": {"functions": 9}}).status_code
        == 403
    )


def test_a_project_has_defaults(root: httpx.Client, slug: str) -> None:
    project = root.post(f"{V1}/projects", json={"slug": slug}).json()

    assert (project["name"], project["plan"], project["allowed_origins"]) == (slug, "unlimited", ["*"])


def test_a_slug_is_taken_once(root: httpx.Client, common_home: Project) -> None:
    again = root.post(f"{V1}/projects", json={"slug": common_home.slug})

    assert (again.status_code, code_of(again)) == (409, "conflict")


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({}, "slug"),
        ({"slug": ""}, "slug"),
        ({"slug": "Upper"}, "slug"),
        ({"slug": "-a"}, "slug"),
        ({"slug": "a/b"}, "slug"),
        ({"slug": "s" * 64}, "slug"),
        ({"slug": 7}, "slug"),
        ({"slug": "ok", "plan": "gold"}, "plan"),
        ({"slug": "ok", "name": " "}, "name"),
        ({"slug": "ok", "allowed_origins": ["shop.example"]}, "allowed_origins"),
        ({"slug": "ok", "allowed_origins": ["https://shop.example/path"]}, "allowed_origins"),
        ({"slug": "ok", "allowed_origins": "*"}, "allowed_origins"),
        ({"slug": "ok", "colour": "red"}, "colour"),
    ],
)
def test_unusable_values_of_a_project_are_422_and_named(
    root: httpx.Client, values: dict[str, object], named: str
) -> None:
    reply = root.post(f"{V1}/projects", json=values)

    assert (reply.status_code, code_of(reply)) == (422, "invalid_input")
    assert named in reply.json()["error"]["message"]
    assert root.get(f"{V1}/projects/ok").status_code == 404


def test_a_project_changes_only_in_what_is_sent(root: httpx.Client, home: Project) -> None:
    before = root.get(f"{V1}/projects/{home.slug}").json()

    changed = root.patch(f"{V1}/projects/{home.slug}", json={"plan": "free"})
    refused = root.patch(f"{V1}/projects/{home.slug}", json={"plan": "gold"})

    assert (changed.status_code, changed.json()) == (200, {**before, "plan": "free"})
    assert refused.status_code == 422
    assert root.get(f"{V1}/projects/{home.slug}").json()["plan"] == "free"


def test_a_deleted_project_takes_everything_along(root: httpx.Client, server: Server, slug: str) -> None:
    root.post(f"{V1}/projects", json={"slug": slug})
    key = root.post(f"{V1}/projects/{slug}/keys", json={"name": "k", "role": "admin"}).json()["key"]
    others = {process.pid for process in server.children()}
    with server.client(key) as client:
        function_id = Kapso(client).deployed(HELLO, public_endpoint=True)
        running = {process.pid for process in server.children()} - others
        assert running
        assert root.delete(f"{V1}/projects/{slug}").status_code == 204

        stopped = wait_until(lambda: not running & {process.pid for process in server.children()}, what="the stop")
        assert stopped
        assert client.get("/platform/v1/functions").status_code == 401
        assert Kapso(client).invoke(function_id, {}).status_code == 404
    assert root.get(f"{V1}/functions/{function_id}").status_code == 404
    assert root.get(f"{V1}/projects/{slug}").status_code == 404
    assert root.delete(f"{V1}/projects/{slug}").status_code == 404


def test_the_default_project_always_exists(root: httpx.Client) -> None:
    reply = root.delete(f"{V1}/projects/default")

    assert (reply.status_code, code_of(reply)) == (409, "conflict")
    assert root.get(f"{V1}/projects/default").json()["slug"] == "default"


def test_the_root_key_acts_on_the_default_project(root: httpx.Client) -> None:
    function = Kapso(root).create(HELLO)
    default = root.get(f"{V1}/projects/default").json()

    native = root.get(f"{V1}/functions/{function['id']}").json()

    assert (function["project_id"], function["created_by_id"]) == (default["id"], None)
    assert native["project"] == "default"
    assert root.delete(f"{V1}/functions/{function['id']}").status_code == 204


def test_lists_come_in_pages(home: Project) -> None:
    made = [Kapso(home.client).create(HELLO, name=f"n{number}")["id"] for number in range(5)]
    seen, cursor = [], None
    while True:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = home.client.get(f"{V1}/functions", params=query).json()
        assert len(page["data"]) <= 2
        seen += [function["id"] for function in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert seen == made


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "cursor=x", "cursor=-1", "cursor=1.5"])
def test_an_unusable_page_is_422(common_home: Project, query: str) -> None:
    reply = common_home.client.get(f"{V1}/functions?{query}")

    assert (reply.status_code, code_of(reply)) == (422, "invalid_input")


# Keys.


def test_a_key_is_shown_once(common_home: Project) -> None:
    made = common_home.client.post(f"{V1}/projects/{common_home.slug}/keys", json={"name": "CI", "role": "deploy"})

    key = made.json()
    text = key.pop("key")
    listed = common_home.client.get(f"{V1}/projects/{common_home.slug}/keys")
    assert (made.status_code, key["name"], key["role"]) == (201, "CI", "deploy")
    assert len(text) > 40
    assert key in listed.json()["data"]
    assert text not in listed.text


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"role": "admin"}, "name"),
        ({"name": "k"}, "role"),
        ({"name": "k", "role": "owner"}, "role"),
        ({"name": "k", "role": None}, "role"),
        ({"name": "", "role": "admin"}, "name"),
        ({"name": "k", "role": "admin", "key": "mine"}, "key"),
    ],
)
def test_unusable_values_of_a_key_are_422_and_named(
    common_home: Project, values: dict[str, object], named: str
) -> None:
    reply = common_home.client.post(f"{V1}/projects/{common_home.slug}/keys", json=values)

    assert (reply.status_code, code_of(reply)) == (422, "invalid_input")
    assert named in reply.json()["error"]["message"]


def test_a_deleted_key_is_refused_at_once(home: Project, server: Server) -> None:
    keys = f"{V1}/projects/{home.slug}/keys"
    function_id = Kapso(home.client).deployed(HELLO)
    made = home.client.post(keys, json={"name": "k", "role": "admin"}).json()
    with server.client(made["key"]) as client:
        assert Kapso(client).invoke(function_id, {}).status_code == 200

        assert home.client.delete(f"{keys}/{made['id']}").status_code == 204

        assert Kapso(client).invoke(function_id, {}).status_code == 404
        assert Kapso(client, "/api/v1").invoke(function_id, {}).status_code == 401
        assert client.get("/platform/v1/functions").status_code == 401
        assert client.get(f"{V1}/functions").status_code == 401
    assert home.client.delete(f"{keys}/{made['id']}").status_code == 404


def test_a_key_works_as_bearer_on_native_routes(home: Project, anonymous: httpx.Client) -> None:
    reply = anonymous.get(f"{V1}/projects", headers={"Authorization": f"Bearer {home.key('deploy')}"})

    assert [project["slug"] for project in reply.json()["data"]] == [home.slug]


def test_no_key_stands_in_the_data_directory(home: Project, server: Server) -> None:
    keys = [home.key(role) for role in ("admin", "deploy", "invoke")]
    Kapso(home.client).invoke(Kapso(home.client).deployed(HELLO), {}, **with_key(keys[2]))

    stored = b"".join(path.read_bytes() for path in files_below(server.data_dir))

    assert home.slug.encode() in stored
    assert not [key for key in [*keys, ROOT_KEY, home.client.headers["x-api-key"]] if key.encode() in stored]
    assert not [key for key in [*keys, ROOT_KEY] if key in server.log]


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


# Roles.

ROUTES = {
    "call": ("POST", "/platform/v1/functions/{function}/invoke", {}),
    "call, older": ("POST", "/api/v1/functions/{function}/invoke", {}),
    "list": ("GET", "/platform/v1/functions", None),
    "create": ("POST", "/platform/v1/functions", {"function": {"name": "x", "code": HELLO}}),
    "get": ("GET", "/platform/v1/functions/{function}", None),
    "patch": ("PATCH", "/platform/v1/functions/{function}", {"function": {"name": "x"}}),
    "deploy": ("POST", "/platform/v1/functions/{function}/deploy", {}),
    "invocations": ("GET", "/platform/v1/functions/{function}/invocations", None),
    "native list": ("GET", V1 + "/functions", None),
    "native get": ("GET", V1 + "/functions/{function}", None),
    "native patch": ("PATCH", V1 + "/functions/{function}", {"timeout_ms": 1000}),
    "versions": ("GET", V1 + "/functions/{function}/versions", None),
    "rollback": ("POST", V1 + "/functions/{function}/rollback", {"version": 1}),
    "project": ("GET", V1 + "/projects/{project}", None),
    "keys": ("GET", V1 + "/projects/{project}/keys", None),
    "new key": ("POST", V1 + "/projects/{project}/keys", {"name": "k", "role": "invoke"}),
    "new project": ("POST", V1 + "/projects", {"slug": "never"}),
    "change project": ("PATCH", V1 + "/projects/{project}", {"name": "x"}),
    "delete project": ("DELETE", V1 + "/projects/{project}", None),
}
EVERYONE = {"call", "call, older", "project"}
ADMINS = {"keys", "new key", "change project"}
READS = {"project", "list", "get", "invocations", "native list", "native get", "versions"}
MORE = ("invoke", "deploy", "admin")
NOBODY = {"new project", "delete project"}


@pytest.mark.parametrize("role", ["read", "invoke", "deploy", "admin"])
def test_a_role_may_do_what_it_says(home: Project, role: str) -> None:
    function_id = Kapso(home.client).deployed(HELLO)
    headers = {"X-API-Key": home.key(role)}
    allowed = {
        "read": READS,
        "invoke": EVERYONE,
        "deploy": ROUTES.keys() - ADMINS - NOBODY,
        "admin": ROUTES.keys() - NOBODY,
    }[role]

    replies = {}
    for name, (method, path, body) in ROUTES.items():
        url = path.format(function=function_id, project=home.slug)
        replies[name] = home.client.request(method, url, json=body, headers=headers)

    assert {name for name, reply in replies.items() if reply.is_success} == set(allowed)
    refused = {name: reply for name, reply in replies.items() if not reply.is_success}
    assert {reply.status_code for reply in refused.values()} == {403}
    for name, reply in refused.items():
        error = reply.json()["error"]
        text = error["message"] if ROUTES[name][1].startswith(V1) else error
        assert text in (
            "This needs the root key",
            *(f"This key has the role {role}; this needs {more}" for more in MORE),
        )


@pytest.mark.parametrize("key", ["", "isk_nobody"])
def test_native_routes_want_a_key(anonymous: httpx.Client, key: str) -> None:
    for name, (method, path, body) in ROUTES.items():
        if not path.startswith(V1):
            continue
        url = path.format(function=uuid.uuid4(), project="default")
        reply = anonymous.request(method, url, json=body, headers={"X-API-Key": key})
        assert (reply.status_code, code_of(reply)) == (401, "unauthenticated"), name


def test_a_project_key_sees_its_own_project_only(home: Project, stranger: Project) -> None:
    """Another's project and function behave exactly as ones that do not exist."""
    function_id = Kapso(home.client).deployed(HELLO)
    routes = {name: route for name, route in ROUTES.items() if "{" in route[1] and name not in NOBODY | {"call, older"}}
    routes["native delete"] = ("DELETE", V1 + "/functions/{function}", None)
    routes["list of project"] = ("GET", V1 + "/functions?project={project}", None)
    routes["delete key"] = ("DELETE", V1 + f"/projects/{{project}}/keys/{uuid.uuid4()}", None)

    for name, (method, path, body) in routes.items():
        others, unknown = (
            stranger.client.request(method, path.format(**names), json=body)
            for names in (
                {"function": function_id, "project": home.slug},
                {"function": uuid.uuid4(), "project": "no-such-project"},
            )
        )
        assert (others.status_code, others.content) == (404, unknown.content), name
        assert set(others.headers) == set(unknown.headers), name

    assert [project["slug"] for project in stranger.client.get(f"{V1}/projects").json()["data"]] == [stranger.slug]
    assert stranger.client.get(f"{V1}/functions").json()["data"] == []
    assert Kapso(home.client).invoke(function_id, {}).text == "hello"


def test_a_key_of_another_project_cannot_be_deleted(home: Project, stranger: Project) -> None:
    made = home.client.post(f"{V1}/projects/{home.slug}/keys", json={"name": "k", "role": "admin"}).json()

    reply = stranger.client.delete(f"{V1}/projects/{stranger.slug}/keys/{made['id']}")

    assert reply.status_code == 404
    assert home.client.get(f"{V1}/projects", **with_key(made["key"])).status_code == 200


# A function's limits.


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_is_set_within_its_bounds(common_home: Project, name: str) -> None:
    path = f"{V1}/functions/{Kapso(common_home.client).create(HELLO)['id']}"
    low, high = LIMITS[name]

    statuses = [
        common_home.client.patch(path, json={name: value}).status_code for value in (low - 1, low, high + 1, high)
    ]

    assert statuses == [422, 200, 422, 200]
    assert common_home.client.get(path).json()[name] == high
    for value in ("text", 1.5, None, []):
        refused = common_home.client.patch(path, json={name: value})
        assert (refused.status_code, code_of(refused)) == (422, "invalid_input")


def test_limits_have_the_documented_defaults(common_home: Project) -> None:
    shown = common_home.client.get(f"{V1}/functions/{Kapso(common_home.client).create(HELLO)['id']}").json()

    assert (shown["timeout_ms"], shown["memory_limit_mb"]) == (30_000, 128)
    assert common_home.client.patch(f"{V1}/functions/{shown['id']}", json={"colour": "red"}).status_code == 422


def test_a_new_time_limit_counts_from_the_next_call(home: Project) -> None:
    kapso = Kapso(home.client)
    function_id = kapso.deployed("async function handler() { await scheduler.wait(200); return new Response('done'); }")
    assert kapso.invoke(function_id, {}).text == "done"

    changed = home.client.patch(f"{V1}/functions/{function_id}", json={"timeout_ms": 50})

    late = kapso.invoke(function_id, {})
    assert changed.json()["timeout_ms"] == 50
    assert (late.status_code, late.json()["detail"]) == (500, "Function execution timeout (50ms)")


def test_the_kapso_config_sets_the_same_limits(home: Project) -> None:
    config = {"timeout": 2.5, "memory": 256, "cpu_ms": 700}

    function_id = Kapso(home.client).create(HELLO, runtime_config=config)["id"]

    shown = home.client.get(f"{V1}/functions/{function_id}").json()
    assert (shown["timeout_ms"], shown["memory_limit_mb"], shown["cpu_ms"]) == (2_500, 256, 700)


# Versions.


def deploy_versions(kapso: Kapso, count: int) -> str:
    function_id = kapso.deployed(HELLO.replace("hello", "version 1"))
    for number in range(2, count + 1):
        code = HELLO.replace("hello", f"version {number}")
        kapso.client.patch(f"/platform/v1/functions/{function_id}", json={"function": {"code": code}})
        kapso.deploy(function_id)
    return function_id


@pytest.fixture(scope="module")
def versions_of(common_home: Project) -> tuple[httpx.Client, str]:
    """A client of a project, and a function there that has three versions, which no test changes."""
    return common_home.client, deploy_versions(Kapso(common_home.client), 3)


def test_versions_are_listed_newest_first_and_each_shows_its_code(versions_of: tuple[httpx.Client, str]) -> None:
    client, function_id = versions_of

    versions = client.get(f"{V1}/functions/{function_id}/versions").json()["data"]

    assert [(version["version"], version["live"]) for version in versions] == [(3, True), (2, False), (1, False)]
    assert {version["language"] for version in versions} == {"javascript"}
    assert "version 3" not in json.dumps(versions)
    for version in versions:
        one = client.get(f"{V1}/functions/{function_id}/versions/{version['version']}").json()
        code = HELLO.replace("hello", f"version {version['version']}")
        assert one == {**version, "entry": "index.js", "files": {"index.js": code}}
    assert client.get(f"{V1}/functions/{function_id}/versions/4").status_code == 404


def test_versions_are_paged(versions_of: tuple[httpx.Client, str]) -> None:
    client, function_id = versions_of
    path = f"{V1}/functions/{function_id}/versions?limit=2"

    first = client.get(path).json()
    second = client.get(f"{path}&cursor={first['next_cursor']}").json()

    assert [one["version"] for one in first["data"]] == [3, 2]
    assert ([one["version"] for one in second["data"]], second["next_cursor"]) == ([1], None)
    assert client.get(f"{path}&cursor=x").status_code == 422


def test_a_rollback_makes_an_older_version_live(home: Project) -> None:
    kapso = Kapso(home.client)
    function_id = deploy_versions(kapso, 2)

    rolled = home.client.post(f"{V1}/functions/{function_id}/rollback", json={"version": 1})

    assert (rolled.status_code, rolled.json()["version"], rolled.json()["status"]) == (200, 1, "deployed")
    assert kapso.invoke(function_id, {}).text == "version 1"
    live = home.client.get(f"{V1}/functions/{function_id}/versions").json()["data"]
    assert [version["version"] for version in live if version["live"]] == [1]
    assert "version 2" in kapso.get(function_id)["code"]
    assert kapso.deploy(function_id)["version"] == 3
    assert kapso.invoke(function_id, {}).text == "version 2"


@pytest.mark.parametrize(
    ("body", "status"),
    [({"version": 9}, 404), ({"version": 0}, 404), ({}, 422), ({"version": "x"}, 422), ({"version": 10**30}, 422)],
)
def test_a_rollback_to_nothing_changes_nothing(
    common_platform: SharedKapso, body: dict[str, object], status: int
) -> None:
    kapso = common_platform
    function_id = kapso.deployed(HELLO)

    reply = kapso.client.post(f"{V1}/functions/{function_id}/rollback", json=body)

    assert reply.status_code == status
    assert code_of(reply) in ("not_found", "invalid_input")
    assert (kapso.get(function_id)["version"], kapso.invoke(function_id, {}).text) == (1, "hello")


def test_a_rollback_clears_a_failed_deploy(home: Project) -> None:
    kapso = Kapso(home.client)
    function_id = deploy_versions(kapso, 2)
    home.client.patch(f"/platform/v1/functions/{function_id}", json={"function": {"code": "broken("}})
    assert kapso.deploy(function_id)["status"] == "error"

    home.client.post(f"{V1}/functions/{function_id}/rollback", json={"version": 1})

    function = kapso.get(function_id)
    assert (function["status"], function["deploy_error"], function["version"]) == ("deployed", None, 1)


def test_only_the_latest_twenty_versions_are_kept(home: Project) -> None:
    function_id = deploy_versions(Kapso(home.client), 1)
    store_copies(home.server, function_id, range(2, 22))
    assert Kapso(home.client).deploy(function_id)["version"] == 22

    kept = wait_until(lambda: home.client.get(f"{V1}/functions/{function_id}/versions").json()["data"])

    assert [version["version"] for version in kept] == list(range(22, 2, -1))


def store_copies(server: Server, function_id: str, numbers: Sequence[int]) -> None:
    """Put versions like the first one into the store, without a deploy of each."""
    with contextlib.closing(sqlite3.connect(server.data_dir / "isolet.db", timeout=60)) as database, database:
        columns = [name for _, name, *_ in database.execute("PRAGMA table_info(versions)") if name != "number"]
        names = ", ".join(columns)
        first = f"SELECT ?, {names} FROM versions WHERE function_id = ? AND number = 1"  # noqa: S608 – a table of ours
        rows = [(number, function_id) for number in numbers]
        database.executemany(f"INSERT INTO versions (number, {names}) {first}", rows)


def test_the_native_function_shows_why_a_deploy_failed(home: Project) -> None:
    function_id = Kapso(home.client).create("async function handler( {")["id"]
    Kapso(home.client).deploy(function_id)

    shown = home.client.get(f"{V1}/functions/{function_id}").json()

    assert (shown["status"], shown["version"], shown["deploy_error"]["line"]) == ("error", None, 1)
