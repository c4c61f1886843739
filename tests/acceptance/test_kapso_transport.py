"""Kapso's transport, keys and errors. The numbers are the items of part 7 of the wire facts."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import httpx
import pytest

from tests.support.kapso import Kapso, SharedKapso, error_of
from tests.support.projects import Project, new_project
from tests.support.server import Server

HELLO = 'async function handler() { return new Response("hello"); }'
FUNCTION = {"function": {"name": "Test", "code": HELLO}}
BAD_KEYS = {"no key": None, "unknown key": "isk_nobody", "empty key": "", "odd key": "käse".encode()}

# Method, path below the base, body: every management route.
ON_ONE = {
    "get": ("GET", "/functions/{id}", None),
    "patch": ("PATCH", "/functions/{id}", {"function": {"name": "New"}}),
    "delete": ("DELETE", "/functions/{id}", None),
    "deploy": ("POST", "/functions/{id}/deploy", None),
    "invocations": ("GET", "/functions/{id}/invocations", None),
}
MANAGEMENT = {"list": ("GET", "/functions", None), "create": ("POST", "/functions", FUNCTION), **ON_ONE}


@pytest.fixture(scope="module")
def stranger(server: Server, root: httpx.Client) -> Iterator[Project]:
    """Another project, with nothing in it."""
    with new_project(server, root) as project:
        yield project


def ask(
    client: httpx.Client, base: str, route: tuple[str, str, object], function_id: str, **options: object
) -> httpx.Response:
    method, path, body = route
    return client.request(method, base + path.format(id=function_id), json=body, **options)


def test_both_bases_show_the_same_data(platform: Kapso, older: Kapso) -> None:
    """Item 1."""
    made = platform.create(HELLO, name="Shared")
    made_older = older.create(HELLO, name="Older")

    seen = older.get(made["id"])
    listed = platform.client.get("/platform/v1/functions").json()["data"]

    assert {**seen, "endpoint_url": made["endpoint_url"], "invocations": None} == {**made, "invocations": None}
    assert [function["id"] for function in listed] == [made["id"], made_older["id"]]
    assert older.deploy(made["id"])["status"] == "deployed"
    assert platform.invoke(made["id"], {}).text == "hello"


def test_a_key_sees_its_own_project_only(api: Kapso, stranger: Project) -> None:
    """Item 2."""
    mine = api.create(HELLO)

    assert [function["id"] for function in api.client.get(f"{api.base}/functions").json()["data"]] == [mine["id"]]
    assert stranger.client.get(f"{api.base}/functions").json() == {"data": []}


@pytest.mark.parametrize("key", BAD_KEYS.values(), ids=BAD_KEYS)
@pytest.mark.parametrize("route", MANAGEMENT.values(), ids=MANAGEMENT)
@pytest.mark.parametrize("base", ["/platform/v1", "/api/v1"])
def test_management_without_a_good_key_is_401(
    anonymous: httpx.Client, base: str, route: tuple[str, str, object], key: str | bytes | None
) -> None:
    """Item 3."""
    headers = {} if key is None else {b"X-API-Key": key if isinstance(key, bytes) else key.encode()}

    reply = ask(anonymous, base, route, str(uuid.uuid4()), headers=headers)

    assert reply.status_code == 401
    assert "API key" in error_of(reply)


def test_every_error_is_json_with_error_as_text(common: SharedKapso, anonymous: httpx.Client) -> None:
    """Item 4."""
    function = common.create(HELLO)
    path = f"{common.base}/functions"
    replies = {
        400: common.client.post(path, content=b"{"),
        401: anonymous.get(path),
        404: common.client.get(f"{path}/{uuid.uuid4()}"),
        405: common.client.put(path, json={}),
        409: common.client.patch(f"{path}/{function['id']}", json={"function": {"name": "x", "lock_version": 7}}),
        422: common.client.post(path, json={"function": {"name": "x"}}),
    }

    assert {status: reply.status_code for status, reply in replies.items()} == {status: status for status in replies}
    assert all(error_of(reply) for reply in replies.values())


@pytest.mark.parametrize("path", ["/functions/", "/nothing", "/functions/x/nothing"])
def test_a_path_that_does_not_exist_is_404_in_the_same_shape(common: SharedKapso, path: str) -> None:
    """Item 4."""
    reply = common.client.get(common.base + path)

    assert reply.status_code == 404
    assert error_of(reply)


@pytest.mark.parametrize("route", ON_ONE.values(), ids=ON_ONE)
def test_an_unknown_function_is_404(common: SharedKapso, route: tuple[str, str, object]) -> None:
    """Item 5."""
    reply = ask(common.client, common.base, route, str(uuid.uuid4()))

    assert (reply.status_code, reply.json()) == (404, {"error": "Function not found"})


@pytest.mark.parametrize("route", {**ON_ONE, "invoke": ("POST", "/functions/{id}/invoke", {})}.values())
def test_another_projects_function_is_like_an_unknown_one(
    common: SharedKapso, stranger: Project, route: tuple[str, str, object]
) -> None:
    """Item 6."""
    mine = common.deployed(HELLO)

    others = ask(stranger.client, common.base, route, mine)
    unknown = ask(stranger.client, common.base, route, str(uuid.uuid4()))

    assert (others.status_code, others.content) == (404, unknown.content)
    assert set(others.headers) == set(unknown.headers)
    assert common.get(mine)["name"] == "Test"


def test_objects_and_lists_are_wrapped_in_data(common: SharedKapso) -> None:
    """Item 7."""
    path = f"{common.base}/functions"
    created = common.client.post(path, json=FUNCTION)
    one = f"{path}/{created.json()['data']['id']}"

    replies = [created, common.client.get(one), common.client.patch(one, json={"function": {"name": "New"}})]

    assert [list(reply.json()) for reply in replies] == [["data"]] * 3
    listed = common.client.get(path).json()
    assert list(listed) == ["data"]
    assert isinstance(listed["data"], list)


def test_a_delete_has_no_body(common: SharedKapso) -> None:
    """Item 7."""
    function = common.create(HELLO)

    reply = common.client.delete(f"{common.base}/functions/{function['id']}")

    assert (reply.status_code, reply.content) == (204, b"")
    assert "content-type" not in reply.headers


def test_the_case_of_an_id_does_not_matter(common: SharedKapso) -> None:
    function_id = common.deployed(HELLO)

    assert common.get(function_id.upper())["id"] == function_id
    assert common.invoke(function_id.upper(), {}).text == "hello"
