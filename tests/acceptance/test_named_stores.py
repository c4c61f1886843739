"""Namespaces and databases under names of their own: bound to functions, read from outside, backed up, deleted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.projects import Project, new_project
from tests.support.server import Server
from tests.support.waiting import wait_until

V1 = "/isolet/v1"
# Keeps what it is sent in each store that it has, and tells what it finds there.
CODE = """export default { async fetch(request, env) {
  const { put, stores } = await request.json();
  const found = {};
  for (const name of stores) {
    const store = env[name];
    if (store === undefined) { found[name] = "missing"; continue; }
    if (store.prepare) {
      await store.exec("CREATE TABLE IF NOT EXISTS t (v TEXT)");
      if (put) await store.prepare("INSERT INTO t VALUES (?)").bind(put + name).run();
      found[name] = (await store.prepare("SELECT v FROM t").all()).results.map((row) => row.v).join();
    } else {
      if (put) await store.put("key", put + name);
      found[name] = await store.get("key");
    }
  }
  return Response.json(found);
} }"""
BINDINGS = {
    "CACHE": {"type": "kv", "namespace": "cache"},
    "AGAIN": {"type": "kv"},
    "MAIN_DB": {"type": "d1", "database": "main"},
}
SHOWN = {**BINDINGS, "AGAIN": {"type": "kv", "namespace": "default"}}


class Named:
    """A project, with calls of its functions by name."""

    def __init__(self, project: Project) -> None:
        self.client = project.client
        self.slug = project.slug
        self.address = f"{V1}/projects/{project.slug}"

    def put(self, name: str, **members: Any) -> dict[str, Any]:
        reply = self.client.put(f"{self.address}/functions/{name}?wait=60", json={"code": CODE, **members})
        assert reply.is_success, reply.text
        return dict(reply.json())

    def call(self, name: str, *stores: str, put: str | None = None) -> dict[str, Any]:
        key = {"X-API-Key": self.client.headers["x-api-key"]}
        reply = self.client.post(f"/f/{self.slug}/{name}", json={"put": put, "stores": stores}, headers=key)
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    def names(self, kind: str) -> list[str]:
        return [store["name"] for store in self.client.get(f"{self.address}/{kind}").json()["data"]]


@pytest.fixture
def named(home: Project) -> Named:
    return Named(home)


@pytest.fixture(scope="module")
def kept(common_home: Project) -> Named:
    """A project with a function `kept` and a namespace `there`, which what is refused leaves as they are."""
    named = Named(common_home)
    named.put("kept")
    assert named.client.put(f"{named.address}/kv/key?namespace=there", content=b"v").status_code == 204
    return named


@pytest.fixture(scope="module")
def untouched(server: Server, root: httpx.Client) -> Iterator[Named]:
    """A project with nothing in it, for what makes nothing."""
    with new_project(server, root) as project:
        yield Named(project)


def code_of(reply: httpx.Response) -> tuple[int, str]:
    return reply.status_code, str(reply.json()["error"]["code"])


def test_stores_are_one_for_all_functions_that_name_them_and_apart_from_others(named: Named) -> None:
    one = named.put("one", bindings=BINDINGS)
    assert one["bindings"] == SHOWN
    named.put("two", bindings={"OTHER": BINDINGS["CACHE"], "LOG": BINDINGS["MAIN_DB"]})

    wrote = named.call("one", "CACHE", "AGAIN", "MAIN_DB", "KV", "DB", put="from ")
    # `AGAIN` and `KV` are the same namespace.
    assert wrote == {
        "CACHE": "from CACHE",
        "AGAIN": "from AGAIN",
        "MAIN_DB": "from MAIN_DB",
        "KV": "from KV",
        "DB": "from DB",
    }
    assert named.call("two", "OTHER", "LOG", "KV", "DB", "CACHE") == {
        "OTHER": "from CACHE",
        "LOG": "from MAIN_DB",
        "KV": "from KV",
        "DB": "from DB",
        "CACHE": "missing",
    }

    kv, database = f"{named.address}/kv", f"{named.address}/database"
    assert named.client.get(f"{kv}/key", params={"namespace": "cache"}).text == "from CACHE"
    assert named.client.get(f"{kv}/key").text == "from KV"
    listed = named.client.get(kv, params={"namespace": "cache"}).json()["data"]
    assert [key["name"] for key in listed] == ["key"]
    query = named.client.post(f"{database}/query", params={"database": "main"}, json={"sql": "SELECT v FROM t"})
    assert query.json()["rows"] == [{"v": "from MAIN_DB"}]
    assert named.names("namespaces") == ["cache", "default"]
    assert named.names("databases") == ["default", "main"]
    stores = named.client.get(f"{named.address}/databases").json()["data"]
    assert [store["size_bytes"] > 0 for store in stores] == [True, True]
    assert [store["created_at"] is None for store in stores] == [True, False]


def test_a_change_of_bindings_is_live_with_the_next_call(named: Named) -> None:
    function = named.put("later")
    assert named.call("later", "CACHE") == {"CACHE": "missing"}
    address = f"{V1}/functions/{function['id']}"
    for bindings, found in (
        ({"CACHE": {"type": "kv", "namespace": "fresh"}}, None),
        ({}, "missing"),
        (None, "missing"),
    ):
        changed = named.client.patch(address, json={"bindings": bindings})
        assert changed.json()["bindings"] == (bindings or {})
        assert named.call("later", "CACHE") == {"CACHE": found}
    assert "fresh" in named.names("namespaces")


def test_a_variable_or_a_secret_does_not_take_the_place_of_a_binding(named: Named) -> None:
    bindings = {"CACHE": BINDINGS["CACHE"]}
    function = named.put("clash", bindings=bindings, variables={"CACHE": "a variable"})
    assert named.call("clash", "CACHE", put="v ") == {"CACHE": "v CACHE"}
    secrets = f"{V1}/functions/{function['id']}/secrets"
    refused = named.client.put(f"{secrets}/CACHE", json={"value": "a secret"})
    assert code_of(refused) == (422, "invalid_input")
    assert named.client.put(f"{secrets}/TOKEN", json={"value": "a secret"}).status_code == 200
    clash = named.client.patch(
        f"{V1}/functions/{function['id']}", json={"bindings": {"TOKEN": {"type": "kv", "namespace": "never"}}}
    )
    assert code_of(clash) == (422, "invalid_input")
    assert "TOKEN" in clash.json()["error"]["message"]
    assert named.client.get(f"{V1}/functions/{function['id']}").json()["bindings"] == bindings
    assert "never" not in named.names("namespaces")


@pytest.mark.parametrize(
    ("bindings", "said"),
    [
        ([], "bindings must be an object"),
        ("KV", "bindings must be an object"),
        ({"KV": {"type": "kv", "namespace": "new"}}, "KV is always"),
        ({"DB": {"type": "d1"}}, "DB is always"),
        ({"cache": {"type": "kv"}}, "upper case"),
        ({"": {"type": "kv"}}, "upper case"),
        ({"A\nB": {"type": "kv"}}, "upper case"),
        ({"__isolet": {"type": "kv"}}, "upper case"),
        ({"Ä\x00": {"type": "kv"}}, "upper case"),
        ({"A" * 129: {"type": "kv"}}, "upper case"),
        ({"CACHE": "kv"}, "bindings.CACHE must be an object"),
        ({"CACHE": {}}, "bindings.CACHE.type"),
        ({"CACHE": {"type": "r2"}}, "bindings.CACHE.type"),
        ({"CACHE": {"type": ["kv"]}}, "bindings.CACHE.type"),
        ({"CACHE": {"type": "kv", "database": "main"}}, "not known for the type kv"),
        ({"CACHE": {"type": "d1", "namespace": "main"}}, "not known for the type d1"),
        ({"CACHE": {"type": "kv", "namespace": "Upper"}}, "lower case letters"),
        ({"CACHE": {"type": "kv", "namespace": ""}}, "lower case letters"),
        ({"CACHE": {"type": "kv", "namespace": "../x"}}, "lower case letters"),
        ({"CACHE": {"type": "kv", "namespace": "a\n"}}, "lower case letters"),
        ({"CACHE": {"type": "kv", "namespace": None}}, "lower case letters"),
        ({"CACHE": {"type": "kv", "namespace": "n" * 64}}, "lower case letters"),
        ({f"B{number}": {"type": "kv"} for number in range(51)}, "may have 50"),
        ({f"B{number}": {"type": "kv", "namespace": f"n{number}"} for number in range(50)}, "may have 50 namespaces"),
    ],
)
def test_bad_bindings_are_refused_and_change_nothing(kept: Named, bindings: object, said: str) -> None:
    before = kept.client.get(f"{kept.address}/functions/kept").json()
    made_id = before["id"]
    replies = [
        kept.client.patch(f"{V1}/functions/{made_id}", json={"bindings": bindings, "description": "new"}),
        kept.client.put(f"{kept.address}/functions/kept", json={"bindings": bindings, "description": "new"}),
        kept.client.put(f"{kept.address}/functions/new", json={"bindings": bindings, "code": CODE}),
        kept.client.post(f"{kept.address}/functions", json={"name": "new", "bindings": bindings, "code": CODE}),
    ]
    assert [code_of(reply) for reply in replies] == [(422, "invalid_input")] * 4
    assert all("bindings" in reply.text or said in reply.text for reply in replies)
    assert said in replies[1].json()["error"]["message"]
    after = kept.client.get(f"{V1}/functions/{made_id}").json()
    for name in ("bindings", "description", "lock_version"):
        assert after[name] == before[name]
    assert kept.client.get(f"{kept.address}/functions/new").status_code == 404
    assert kept.names("namespaces") == ["default", "there"]


@pytest.mark.parametrize("name", ["Upper", "", "a/b", "..", "n" * 64, "a b", "a\x00", "ü"])
def test_a_bad_name_in_a_query_makes_no_store(untouched: Named, name: str) -> None:
    kv, database = f"{untouched.address}/kv", f"{untouched.address}/database"
    replies = [
        untouched.client.get(kv, params={"namespace": name}),
        untouched.client.put(f"{kv}/key", params={"namespace": name}, content=b"v"),
        untouched.client.get(database, params={"database": name}),
        untouched.client.post(f"{database}/query", params={"database": name}, json={"sql": "SELECT 1"}),
        untouched.client.post(f"{database}/import", params={"database": name}, content=b"SELECT 1"),
    ]
    assert [code_of(reply) for reply in replies] == [(422, "invalid_input")] * len(replies)
    assert (untouched.names("namespaces"), untouched.names("databases")) == (["default"], ["default"])


def test_a_write_makes_a_store_and_a_read_does_not(named: Named) -> None:
    kv, database = f"{named.address}/kv", f"{named.address}/database"
    reads = [
        named.client.get(kv, params={"namespace": "new"}),
        named.client.get(f"{kv}/key", params={"namespace": "new"}),
        named.client.delete(f"{kv}/key", params={"namespace": "new"}),
        named.client.get(database, params={"database": "new"}),
        named.client.get(f"{database}/export", params={"database": "new"}),
        named.client.delete(f"{named.address}/namespaces/new"),
        named.client.delete(f"{named.address}/databases/new"),
    ]
    assert [code_of(reply) for reply in reads] == [(404, "not_found")] * len(reads)
    for number in range(50):
        made = named.client.post(f"{database}/query", params={"database": f"n{number}"}, json={"sql": "SELECT 1"})
        assert made.status_code == 200
    beyond = named.client.post(f"{database}/query", params={"database": "beyond"}, json={"sql": "SELECT 1"})
    assert code_of(beyond) == (422, "invalid_input")
    assert len(named.names("databases")) == 51
    assert named.client.put(f"{kv}/key", params={"namespace": "new"}, content=b"v").status_code == 204
    limits = named.client.get(f"{V1}/limits").json()["stores"]
    assert limits == {"namespaces": 50, "databases": 50, "bindings_of_a_function": 50}


def test_a_deleted_store_is_gone_and_empty_when_it_is_named_again(named: Named) -> None:
    function = named.put("user", bindings=BINDINGS)
    named.call("user", "CACHE", "MAIN_DB", "KV", put="v ")
    large = b"v" * 100_000
    assert named.client.put(f"{named.address}/kv/large?namespace=cache", content=large).status_code == 204
    places = [f"{named.address}/namespaces/cache", f"{named.address}/databases/main"]
    assert [code_of(named.client.delete(place)) for place in places] == [(409, "conflict")] * 2
    for default in ("namespaces/default", "databases/default"):
        assert code_of(named.client.delete(f"{named.address}/{default}")) == (409, "conflict")
    assert named.call("user", "CACHE") == {"CACHE": "v CACHE"}

    assert named.client.patch(f"{V1}/functions/{function['id']}", json={"bindings": {}}).status_code == 200
    assert [named.client.delete(place).status_code for place in places] == [204, 204]
    assert (named.names("namespaces"), named.names("databases")) == (["default"], ["default"])
    assert named.client.get(f"{named.address}/kv/key?namespace=cache").status_code == 404
    assert named.client.get(f"{named.address}/kv/key").text == "v KV"

    named.put("user", bindings=BINDINGS)
    assert named.call("user", "CACHE", "MAIN_DB", "KV") == {"CACHE": None, "MAIN_DB": "", "KV": "v KV"}
    assert named.client.get(f"{named.address}/kv/large?namespace=cache").status_code == 404


def test_a_backup_holds_every_store(named: Named, stranger: Project) -> None:
    other = Named(stranger)
    named.put("user", bindings=BINDINGS)
    wrote = named.call("user", "CACHE", "MAIN_DB", "KV", "DB", put="v ")
    backup = named.client.get(f"{named.address}/backup").content
    named.call("user", "CACHE", "MAIN_DB", "KV", "DB", put="later ")

    for place in (named, other):
        assert place.client.post(f"{place.address}/restore", content=backup).status_code == 204
        assert (place.names("namespaces"), place.names("databases")) == (["cache", "default"], ["default", "main"])
    other.put("user", bindings=BINDINGS)
    for place in (named, other):
        wait_until(lambda place=place: place.call("user", *wrote) == wrote, what="the stores of the backup")


def test_all_stores_of_a_project_share_its_limit(named: Named, root: httpx.Client) -> None:
    assert root.patch(named.address, json={"limits": {"storage_mb": 2}}).status_code == 200
    kv, statuses = f"{named.address}/kv/key", []
    for number in range(8):
        reply = named.client.put(kv, params={"namespace": f"n{number}"}, content=b"v" * 500_000)
        statuses.append(reply.status_code)
    assert statuses[0] == 204
    assert statuses[-1] == 413
    query = {"sql": "CREATE TABLE t AS SELECT zeroblob(1000000) AS v"}
    full = named.client.post(f"{named.address}/database/query", params={"database": "full"}, json=query)
    assert code_of(full) == (413, "too_large")
