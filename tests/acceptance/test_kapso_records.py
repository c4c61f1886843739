"""Function objects of the Kapso API. The numbers are the items of part 7 of the wire facts."""

from __future__ import annotations

import json
import uuid
from datetime import datetime

import httpx
import pytest

from tests.support.kapso import Kapso, SharedKapso, error_of
from tests.support.projects import Project

HELLO = 'async function handler() { return new Response("hello"); }'
MEMBERS = {
    "id",
    "name",
    "slug",
    "lock_version",
    "description",
    "code",
    "version",
    "status",
    "last_deployed_at",
    "function_type",
    "invoke_response_mode",
    "public_endpoint",
    "runtime_config",
    "endpoint_url",
    "project_id",
    "created_by_id",
    "created_at",
    "updated_at",
}


def create(api: Kapso, **values: object) -> httpx.Response:
    return api.client.post(f"{api.base}/functions", json={"function": {"name": "Test", "code": HELLO, **values}})


def update(api: Kapso, function_id: str, **values: object) -> httpx.Response:
    return api.client.patch(f"{api.base}/functions/{function_id}", json={"function": values})


def test_creation_answers_201_with_the_function(common: SharedKapso) -> None:
    """Item 11."""
    reply = create(common, name="Order hook", description="Takes orders")

    function = reply.json()["data"]
    assert reply.status_code == 201
    assert (function["name"], function["description"], function["code"]) == ("Order hook", "Takes orders", HELLO)
    assert common.get(function["id"])["name"] == "Order hook"


def test_a_new_function_is_a_private_draft(common: SharedKapso) -> None:
    """Item 12."""
    function = common.create(HELLO)

    assert {name: function[name] for name in ("status", "last_deployed_at", "version", "deploy_error")} == {
        "status": "draft",
        "last_deployed_at": None,
        "version": None,
        "deploy_error": None,
    }
    assert (function["public_endpoint"], function["invoke_response_mode"]) == (False, "passthrough")
    assert function["lock_version"] == 0


def test_the_function_type_defaults_to_a_worker(common: SharedKapso) -> None:
    """Item 13."""
    assert common.create(HELLO)["function_type"] == "cloudflare_worker"
    assert common.create(HELLO, function_type="cloudflare_worker")["function_type"] == "cloudflare_worker"
    assert common.create(HELLO, function_type="supabase_function")["function_type"] == "supabase_function"


@pytest.mark.parametrize("value", ["lambda", "", 7, ["cloudflare_worker"], {}])
def test_an_unknown_function_type_is_422(common: SharedKapso, value: object) -> None:
    """Item 14."""
    reply = create(common, function_type=value)

    assert reply.status_code == 422
    assert "function_type" in error_of(reply)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "function"),
        ({"name": "Test", "code": HELLO}, "function"),
        ({"function": None}, "function"),
        ({"function": [1]}, "function"),
        ({"function": "text"}, "function"),
        ([], "function"),
        (None, "function"),
        ({"function": {"code": HELLO}}, "name"),
        ({"function": {"name": "Test"}}, "code"),
        ({"function": {"name": None, "code": HELLO}}, "name"),
        ({"function": {"name": "  ", "code": HELLO}}, "name"),
        ({"function": {"name": 7, "code": HELLO}}, "name"),
        ({"function": {"name": "n" * 256, "code": HELLO}}, "name"),
        ({"function": {"name": "a\x00b", "code": HELLO}}, "name"),
        ({"function": {"name": "\ud800", "code": HELLO}}, "name"),
        ({"function": {"name": "Test", "code": ""}}, "code"),
        ({"function": {"name": "Test", "code": 1}}, "code"),
        ({"function": {"name": "Test", "code": HELLO, "description": 1}}, "description"),
        ({"function": {"name": "Test", "code": HELLO, "public_endpoint": "yes"}}, "public_endpoint"),
        ({"function": {"name": "Test", "code": HELLO, "runtime_config": []}}, "runtime_config"),
    ],
)
def test_missing_and_wrong_members_are_422_and_named(common: SharedKapso, body: object, named: str) -> None:
    """Item 15."""
    before = common.client.get(f"{common.base}/functions").json()

    reply = common.client.post(f"{common.base}/functions", content=json.dumps(body))

    assert reply.status_code == 422
    assert named in error_of(reply)
    assert common.client.get(f"{common.base}/functions").json() == before


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Process Webhook", "process-webhook"),
        ("  Order -- 2!  ", "order-2"),
        ("Größe", "groe"),
        ("日本", "function"),
        ("n" * 255, "n" * 92),
    ],
)
def test_a_slug_is_made_from_the_name(api: Kapso, name: str, slug: str) -> None:
    """Item 16."""
    assert api.create(HELLO, name=name)["slug"] == slug


def test_a_made_slug_that_is_taken_gets_a_number(api: Kapso, stranger: Project) -> None:
    """Item 16, and the design's section 9."""
    slugs = [api.create(HELLO, name="Hook")["slug"] for _ in range(3)]

    assert slugs == ["hook", "hook-2", "hook-3"]
    assert Kapso(stranger.client, api.base).create(HELLO, name="Hook")["slug"] == "hook"


def test_a_given_slug_is_kept_and_may_not_be_taken_twice(api: Kapso) -> None:
    """Item 16, and the design's section 9."""
    first = api.create(HELLO, slug="mine")
    other = api.create(HELLO)

    again, moved = create(api, slug="mine"), update(api, other["id"], slug="mine")

    assert first["slug"] == "mine"
    assert (again.status_code, error_of(again)) == (422, "slug has already been taken")
    assert (moved.status_code, error_of(moved)) == (422, "slug has already been taken")
    assert update(api, other["id"], slug="other").json()["data"]["slug"] == "other"


@pytest.mark.parametrize("slug", ["Upper", "with space", "ü", "a_b", "", "s" * 101, 7])
def test_a_slug_of_other_characters_is_422(common: SharedKapso, slug: object) -> None:
    """Item 16."""
    function = common.create(HELLO)

    for reply in (create(common, slug=slug), update(common, function["id"], slug=slug)):
        assert reply.status_code == 422
        assert "slug" in error_of(reply)


def test_code_may_have_one_megabyte_and_no_more(common: SharedKapso) -> None:
    """Item 17."""
    fits = HELLO + "/*" + "é" * ((1_048_576 - len(HELLO) - 4) // 2) + "*/"
    over = fits + "12"

    created = create(common, code=fits)
    refused, not_updated = create(common, code=over), update(common, created.json()["data"]["id"], code=over)

    assert (created.status_code, created.json()["data"]["code"]) == (201, fits)
    assert (refused.status_code, error_of(refused)) == (422, "code is too large (maximum is 1 MB)")
    assert not_updated.status_code == 422


def test_only_workers_may_be_public(common: SharedKapso) -> None:
    """Item 18."""
    refused = create(common, function_type="supabase_function", public_endpoint=True)
    function = common.create(HELLO, function_type="supabase_function")

    assert refused.status_code == 422
    assert "public_endpoint" in error_of(refused)
    assert update(common, function["id"], public_endpoint=True).status_code == 422
    assert common.create(HELLO, public_endpoint=True)["public_endpoint"] is True


def test_a_runtime_config_is_returned_untouched(common: SharedKapso) -> None:
    """Item 19."""
    config = {"timeout": 30, "memory": 128, "region": None, "nested": {"list": [1, "ä", 1.5, True]}}

    function = common.create(HELLO, runtime_config=config)

    assert function["runtime_config"] == common.get(function["id"])["runtime_config"] == config
    assert update(common, function["id"], runtime_config=None).json()["data"]["runtime_config"] is None
    assert common.create(HELLO, runtime_config={})["runtime_config"] == {}


@pytest.mark.parametrize(
    "config",
    [
        {"timeout": 0},
        {"timeout": 86_401},
        {"timeout": "30"},
        {"timeout": True},
        {"memory": 63},
        {"memory": 1025},
        {"timeout_ms": 0},
        {"cpu_ms": 300_001},
        {"memory_limit_mb": 1.5},
    ],
)
def test_a_limit_out_of_bounds_in_runtime_config_is_422(common: SharedKapso, config: dict[str, object]) -> None:
    """The design's section 9."""
    function = common.create(HELLO)

    created, updated = create(common, runtime_config=config), update(common, function["id"], runtime_config=config)

    assert (created.status_code, updated.status_code) == (422, 422)
    assert f"runtime_config.{next(iter(config))}" in error_of(created)
    assert common.get(function["id"])["lock_version"] == 0


def test_the_endpoint_url_is_of_the_base_that_was_asked(api: Kapso) -> None:
    """Item 20."""
    function = api.create(HELLO)

    assert function["endpoint_url"] == f"{api.client.base_url}{api.base}/functions/{function['id']}/invoke"
    api.deploy(function["id"])
    assert api.client.post(function["endpoint_url"], json={}).text == "hello"


def test_a_function_object_has_every_member(api: Kapso, home: Project) -> None:
    """Item 21."""
    function = api.create(HELLO)

    assert function.keys() >= MEMBERS
    assert [str(uuid.UUID(function[name])) for name in ("id", "project_id", "created_by_id")] == [
        function["id"],
        home.id,
        function["created_by_id"],
    ]
    for name in ("created_at", "updated_at"):
        assert datetime.fromisoformat(function[name]).tzinfo is not None


def test_an_empty_project_lists_nothing(api: Kapso) -> None:
    """Item 22."""
    reply = api.client.get(f"{api.base}/functions")

    assert (reply.status_code, reply.json()) == (200, {"data": []})


def test_a_list_holds_every_function_whole(api: Kapso) -> None:
    """Item 22."""
    made = [api.create(HELLO, name=f"Number {number}") for number in range(25)]

    assert api.client.get(f"{api.base}/functions").json()["data"] == made


def test_one_function_comes_with_its_full_code(common: SharedKapso) -> None:
    """Item 23."""
    code = HELLO + "\n// ünïcödé 🎈 \u2028 \\ \" '\r\n" + "x();" * 20_000

    assert common.get(common.create(code)["id"])["code"] == code


def test_an_update_changes_only_what_is_sent(common: SharedKapso) -> None:
    """Item 24."""
    before = common.create(HELLO, description="Old", runtime_config={"memory": 256})

    reply = update(common, before["id"], name="New")

    after = reply.json()["data"]
    changed = {name for name in MEMBERS if after[name] != before[name]}
    assert reply.status_code == 200
    assert changed - {"updated_at"} == {"name", "lock_version"}
    assert after["name"] == "New"
    assert update(common, before["id"], description=None).json()["data"]["description"] is None


def test_a_stale_lock_version_is_409_and_changes_nothing(common: SharedKapso) -> None:
    """Item 25."""
    function_id = common.create(HELLO)["id"]

    first = update(common, function_id, name="One", lock_version=0)
    stale = update(common, function_id, name="Two", lock_version=0)
    unchecked = update(common, function_id, description="Three")

    assert first.json()["data"]["lock_version"] == 1
    assert stale.status_code == 409
    assert "lock_version" in error_of(stale)
    assert unchecked.json()["data"]["name"] == "One"
    assert unchecked.json()["data"]["lock_version"] == 2


@pytest.mark.parametrize("value", ["0", 0.5, True, [], {}])
def test_a_lock_version_that_is_no_number_is_422(common: SharedKapso, value: object) -> None:
    """Item 25."""
    reply = update(common, common.create(HELLO)["id"], name="New", lock_version=value)

    assert reply.status_code == 422
    assert "lock_version" in error_of(reply)


def test_new_code_waits_for_the_next_deploy(api: Kapso) -> None:
    """Item 26."""
    function_id = api.deployed(HELLO)

    changed = update(api, function_id, code=HELLO.replace("hello", "bye")).json()["data"]

    assert "bye" in changed["code"]
    assert api.invoke(function_id, {}).text == "hello"
    api.deploy(function_id)
    assert api.invoke(function_id, {}).text == "bye"


def test_renaming_keeps_the_slug(api: Kapso) -> None:
    """Item 27."""
    function = api.create(HELLO, name="First")

    assert update(api, function["id"], name="Second").json()["data"]["slug"] == "first"
    assert update(api, function["id"], name="Third", slug="third").json()["data"]["slug"] == "third"


def test_a_function_that_was_never_wrapped_cannot_become_so(common: SharedKapso) -> None:
    """Item 28."""
    function = common.create(HELLO)

    reply = update(common, function["id"], invoke_response_mode="wrapped")

    assert reply.status_code == 422
    assert "invoke_response_mode" in error_of(reply)
    assert common.get(function["id"])["invoke_response_mode"] == "passthrough"


def test_wrapped_is_chosen_at_creation_on_the_older_base_only(platform: Kapso, older: Kapso) -> None:
    """Item 28, and the design's section 9."""
    refused = create(platform, invoke_response_mode="wrapped")
    wrapped = older.create(HELLO, invoke_response_mode="wrapped")

    assert refused.status_code == 422
    assert (wrapped["invoke_response_mode"], older.create(HELLO)["invoke_response_mode"]) == ("wrapped", "passthrough")
    assert update(platform, wrapped["id"], invoke_response_mode="wrapped").status_code == 200


def test_a_wrapped_function_may_become_passthrough_for_good(api: Kapso, older: Kapso) -> None:
    """Item 28."""
    function_id = older.deployed(
        'async function handler() { return Response.json("x"); }', invoke_response_mode="wrapped"
    )
    assert api.invoke(function_id, {}).json() == {"data": "x"}

    reply = update(api, function_id, invoke_response_mode="passthrough")

    assert reply.json()["data"]["invoke_response_mode"] == "passthrough"
    assert api.invoke(function_id, {}).json() == "x"
    assert update(api, function_id, invoke_response_mode="wrapped").status_code == 422


def test_the_older_base_takes_put_as_well_as_patch(older: Kapso) -> None:
    """Item 29."""
    path = f"/api/v1/functions/{older.create(HELLO)['id']}"

    put = older.client.put(path, json={"function": {"name": "Put"}})
    patched = older.client.patch(path, json={"function": {"description": "Patched"}})

    assert (put.status_code, patched.status_code) == (200, 200)
    assert (patched.json()["data"]["name"], patched.json()["data"]["description"]) == ("Put", "Patched")
    assert older.client.put(path.replace("/api", "/platform"), json={"function": {"name": "x"}}).status_code == 405


def test_a_second_delete_is_404(api: Kapso) -> None:
    """Item 30."""
    path = f"{api.base}/functions/{api.create(HELLO)['id']}"

    assert [api.client.delete(path).status_code for _ in range(2)] == [204, 404]


def test_a_deleted_function_cannot_be_called(api: Kapso) -> None:
    """Item 31."""
    function_id = api.deployed(HELLO)
    assert api.invoke(function_id, {}).status_code == 200

    api.client.delete(f"{api.base}/functions/{function_id}")

    gone = api.invoke(function_id, {})
    assert (gone.status_code, gone.json()) == (404, {"error": "Function not found"})
    assert "x-invocation-id" not in gone.headers
    assert api.client.get(f"{api.base}/functions").json() == {"data": []}


def test_one_function_shows_its_latest_ten_calls_and_a_list_does_not(api: Kapso) -> None:
    """The design's section 9: the extended view."""
    function_id = api.deployed(HELLO)
    ids = [api.invoke(function_id, {}).headers["x-invocation-id"] for _ in range(12)]

    shown = api.get(function_id)["invocations"]

    assert [item["id"] for item in shown] == ids[:1:-1]
    assert "invocations" not in api.client.get(f"{api.base}/functions").json()["data"][0]
