"""What a project may store: KV values, its index, and SQL together; what is over it, and how room comes back."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.support.cases import CaseFailed, Cases
from tests.support.kapso import Kapso
from tests.support.projects import Project, new_project
from tests.support.server import Server
from tests.support.waiting import wait_until

CASES = """
const bytes = (count) => new Uint8Array(count).fill(120);
const cases = {
  put: (env, key, count) => env.KV.put(key, bytes(count)),
  stream: (env, key, count) => {
    const { readable, writable } = new FixedLengthStream(count);
    const writer = writable.getWriter();
    writer.write(bytes(count)).then(() => writer.close());
    return env.KV.put(key, readable);
  },
  size: async (env, key) => (await env.KV.get(key, "arrayBuffer"))?.byteLength ?? null,
  remove: (env, key) => env.KV.delete(key),
  exec: (env, sql) => env.DB.exec(sql),
  insert: async (env, count) => {
    await env.DB.prepare("INSERT INTO t VALUES (zeroblob(?))").bind(count).run();
  },
  fill: async (env, count) => {
    await env.DB.prepare(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
        + "INSERT INTO t SELECT zeroblob(1000000) FROM n",
    ).bind(count).run();
  },
  rows: async (env) => (await env.DB.prepare("SELECT count(*) AS n FROM t").first()).n,
};
"""
LIMIT_MB = 8
FULL = 'the project\'s storage is full: it holds 8 MiB, as its limit "storage_mb" allows'
MILLION = 1_000_000


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("small") / "data", project_storage_mb=LIMIT_MB) as server:
        yield server


@pytest.fixture(scope="module")
def small_root(small: Server) -> Iterator[httpx.Client]:
    with small.client() as client:
        yield client


@pytest.fixture
def home(small: Server, small_root: httpx.Client) -> Iterator[Project]:
    with new_project(small, small_root) as project:
        yield project


@pytest.fixture
def cases(home: Project) -> Cases:
    made = Cases(Kapso(home.client), CASES)
    made.run("exec", "CREATE TABLE t (b BLOB)")
    return made


def fails(cases: Cases, *call: object) -> str:
    with pytest.raises(CaseFailed) as caught:
        cases.run(*call)
    return str(caught.value)


@pytest.mark.parametrize("case", ["put", "stream"])
def test_values_beyond_the_limit_are_refused_and_deleting_makes_room(cases: Cases, case: str) -> None:
    for i in range(8):
        cases.run(case, f"k{i}", MILLION)
    assert FULL in fails(cases, case, "k8", MILLION)
    assert cases.run("size", "k8") is None
    assert cases.run("size", "k7") == MILLION
    cases.run("remove", "k0")
    wait_until(lambda: works(cases, case, "k8", MILLION), timeout_s=30, what="room for another value")


def works(cases: Cases, *call: object) -> bool:
    try:
        cases.run(*call)
    except CaseFailed:
        return False
    return True


def test_an_overwritten_value_gives_its_room_back(cases: Cases) -> None:
    for i in range(7):
        cases.run("put", f"k{i}", MILLION)
    cases.run("put", "k0", 10)
    wait_until(lambda: works(cases, "put", "more", MILLION), timeout_s=30, what="room for another value")
    assert FULL in fails(cases, "put", "too much", MILLION)


def test_small_values_count_too(cases: Cases) -> None:
    for i in range(120):
        cases.run("put", f"k{i}", 60_000)
    assert FULL in fails(cases, "put", "big", 2 * MILLION)


def test_rows_beyond_the_limit_are_undone_and_deleting_makes_room(cases: Cases) -> None:
    for _ in range(7):
        cases.run("insert", MILLION)
    assert FULL in fails(cases, "insert", 2 * MILLION)
    assert cases.run("rows") == 7
    cases.run("exec", "DELETE FROM t")
    cases.run("insert", MILLION)


def test_a_statement_that_writes_far_more_is_undone_as_a_whole(cases: Cases) -> None:
    cases.run("insert", MILLION)
    assert fails(cases, "fill", 40)
    assert cases.run("rows") == 1
    cases.run("insert", MILLION)


def test_both_stores_share_the_limit_and_no_other_project(
    small: Server, small_root: httpx.Client, cases: Cases
) -> None:
    for i in range(4):
        cases.run("put", f"k{i}", MILLION)
        cases.run("insert", MILLION)
    assert FULL in fails(cases, "put", "more", MILLION)
    wait_until(lambda: not works(cases, "insert", MILLION), timeout_s=30, what="the end of the room")
    with new_project(small, small_root) as other:
        Cases(Kapso(other.client), CASES).run("put", "k", 4 * MILLION)


def test_the_native_api_answers_413(home: Project) -> None:
    base = f"/isolet/v1/projects/{home.slug}"
    for i in range(8):
        assert home.client.put(f"{base}/kv/k{i}", content=bytes(MILLION)).status_code == 204
    refused = [
        home.client.put(f"{base}/kv/k8", content=bytes(MILLION)),
        home.client.post(f"{base}/database/query", json={"sql": "CREATE TABLE t AS SELECT zeroblob(1000000) AS b"}),
        home.client.post(f"{base}/database/import", content="CREATE TABLE t AS SELECT zeroblob(1000000) AS b;"),
    ]
    assert [reply.status_code for reply in refused] == [413] * 3
    assert all(FULL in reply.json()["error"]["message"] for reply in refused)
    assert home.client.delete(f"{base}/kv/k0").status_code == 204


def test_a_limit_that_changes_holds_at_once(small_root: httpx.Client, home: Project, cases: Cases) -> None:
    for i in range(8):
        cases.run("put", f"k{i}", MILLION)
    project = f"/isolet/v1/projects/{home.slug}"
    assert small_root.patch(project, json={"limits": {"storage_mb": 10}}).status_code == 200
    cases.run("put", "k8", MILLION)
    assert small_root.patch(project, json={"limits": {"storage_mb": 2}}).status_code == 200
    wait_until(lambda: not works(cases, "put", "small", 10), timeout_s=30, what="the new limit")
    assert cases.run("size", "k0") == MILLION
    cases.run("remove", "k0")
