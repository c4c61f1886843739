"""The native API of a project's stores: KV, SQL, backups, and who may do what."""

import contextlib
import gzip
import io
import json
import os
import resource
import sqlite3
import tarfile
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import pytest

from tests.support.cases import CaseFailed, Cases
from tests.support.kapso import Kapso
from tests.support.projects import Project, new_project
from tests.support.server import Server
from tests.support.waiting import wait_until

CASES = """
const cases = {
  put: (env, key, value, options) => env.KV.put(key, value, options),
  get: (env, key) => env.KV.get(key),
  half: (env, key) => env.KV.put(key, "v", { metadata: "\\ud800" }),
  found: (env, key) => env.KV.getWithMetadata(key),
  exec: (env, sql) => env.DB.exec(sql),
  all: async (env, sql) => (await env.DB.prepare(sql).all()).results,
  // KV first, the database after: at any moment the database has what KV has, or one less.
  async step(env, n) {
    await env.KV.put("n", String(n));
    await env.DB.prepare("INSERT INTO steps VALUES (?)").bind(n).run();
  },
  async steps(env) {
    return [Number(await env.KV.get("n")), await env.DB.prepare("SELECT max(n) AS n FROM steps").first("n")];
  },
};
"""


class Stores:
    """The native API of one project."""

    def __init__(self, project: Project, key: str | None = None) -> None:
        self.client = project.client if key is None else project.server.client(key)
        self.base = f"/isolet/v1/projects/{project.slug}"
        self.project = project
        self.server = project.server

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self.client.request(method, self.base + path, **options)

    def put(self, key: str, value: bytes = b"v", **options: Any) -> httpx.Response:
        return self.request("PUT", "/kv/" + quote(key, safe=""), content=value, **options)

    def get(self, key: str) -> httpx.Response:
        return self.request("GET", "/kv/" + quote(key, safe=""))

    def query(self, sql: str, *params: Any) -> httpx.Response:
        return self.request("POST", "/database/query", json={"sql": sql, "params": params})

    def rows(self, sql: str, *params: Any) -> Any:
        reply = self.query(sql, *params)
        assert reply.status_code == 200, reply.text
        return reply.json()["rows"]

    def import_text(self, text: str | bytes) -> httpx.Response:
        return self.request("POST", "/database/import", content=text)


def told(reply: httpx.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["error"]["message"]


@pytest.fixture
def home(server: Server, root: httpx.Client) -> Iterator[Project]:
    with new_project(server, root) as project:
        yield project


@pytest.fixture
def stores(home: Project) -> Stores:
    return Stores(home)


@pytest.fixture
def cases(home: Project) -> Cases:
    return Cases(Kapso(home.client), CASES)


@pytest.fixture(scope="module")
def common_home(server: Server, root: httpx.Client) -> Iterator[Project]:
    """A project that tests share that leave it as they found it."""
    with new_project(server, root) as project:
        yield project


@pytest.fixture(scope="module")
def common_cases(common_home: Project) -> Cases:
    return Cases(Kapso(common_home.client), CASES)


# KV.


def test_what_a_function_puts_is_there_to_read_and_the_other_way(stores: Stores, cases: Cases) -> None:
    cases.run("put", "from-function", "tëxt", {"metadata": {"who": "Zoë"}})
    reply = stores.get("from-function")
    assert (reply.status_code, reply.content) == (200, "tëxt".encode())
    assert reply.headers["x-kv-metadata"] == '{"who":"Zo\\u00eb"}'
    binary = bytes(range(256)) * 300
    assert stores.put("from-outside", binary, headers={"x-kv-metadata": '{"who": "Zo\\u00eb"}'}).status_code == 204
    assert stores.get("from-outside").content == binary
    for encoding in ("latin-1", "utf-8"):
        metadata = '{"who": "Zoë"}'.encode(encoding)
        assert stores.put("words", b"plain", headers={b"x-kv-metadata": metadata}).status_code == 204
        assert stores.get("words").headers["x-kv-metadata"] == '{"who":"Zo\\u00eb"}'
    found = cases.run("found", "words")
    assert (found["value"], found["metadata"]) == ("plain", {"who": "Zoë"})


def test_metadata_that_is_no_text_elsewhere_is_shown_as_json_writes_it(stores: Stores, cases: Cases) -> None:
    cases.run("half", "odd")
    assert stores.get("odd").headers["x-kv-metadata"] == '"\\ud800"'
    assert r'"metadata":"\ud800"' in stores.request("GET", "/kv").text


@pytest.mark.parametrize(
    "key", ["a/b/c", "with space", "100%", "%2F", "q?x=1#y", "ключ-☃", "a+b&c=d", "/x", "x/", "a\r\nb\n"]
)
def test_a_key_may_hold_any_character(common_home: Project, common_cases: Cases, key: str) -> None:
    stores = Stores(common_home)
    assert stores.put(key, key.encode()).status_code == 204
    assert common_cases.run("get", key) == key
    assert stores.get(key).text == key
    assert [item["name"] for item in stores.request("GET", "/kv").json()["data"]] == [key]
    assert stores.request("DELETE", "/kv/" + quote(key, safe="")).status_code == 204
    assert told(stores.get(key)) == (404, "Key not found")


def test_a_value_may_have_25_mib_and_no_more(stores: Stores) -> None:
    largest = 25 * 1024 * 1024
    assert stores.put("large", bytes(largest)).status_code == 204
    assert len(stores.get("large").content) == largest
    assert told(stores.put("large", bytes(largest + 1))) == (413, f"value is larger than {largest} bytes")


def test_a_put_with_a_ttl_shows_when_it_expires(stores: Stores) -> None:
    assert stores.put("short", params={"expiration_ttl": 60}).status_code == 204
    (key,) = stores.request("GET", "/kv").json()["data"]
    assert set(key) == {"name", "expiration"}
    status, message = told(stores.put("short", params={"expiration_ttl": 59}))
    assert status == 422
    assert "Invalid expiration_ttl of 59" in message


def test_a_value_whose_time_has_come_is_gone_for_everybody(stores: Stores, cases: Cases) -> None:
    for key in ("old", "young"):
        assert stores.put(key, params={"expiration_ttl": 60}).status_code == 204
    _expire(stores, "old")
    assert told(stores.get("old")) == (404, "Key not found")
    assert (cases.run("get", "old"), cases.run("get", "young")) == (None, "v")
    assert [key["name"] for key in stores.request("GET", "/kv").json()["data"]] == ["young"]
    assert stores.put("old", b"again").status_code == 204
    assert cases.run("get", "old") == "again"


def _expire(stores: Stores, key: str) -> None:
    """Put its time into the past, in the file: the shortest time that one may ask for is a minute."""
    folder = stores.server.data_dir / "projects" / stores.project.id / "objects/isolet-kv"
    (path,) = (found for found in folder.glob("*.sqlite") if found.name != "metadata.sqlite")
    with contextlib.closing(sqlite3.connect(path, timeout=60)) as file, file:
        changed = file.execute("UPDATE entries SET expiration = 1000 WHERE key = ? AND expiration IS NOT NULL", [key])
        assert changed.rowcount == 1


def test_a_put_with_a_ttl_of_over_a_hundred_years_is_refused(stores: Stores) -> None:
    longest = 100 * 365 * 86_400

    assert stores.put("long", params={"expiration_ttl": longest}).status_code == 204
    for ttl in (longest + 1, 10**22):
        assert told(stores.put("longer", params={"expiration_ttl": ttl})) == (
            422,
            f"expiration_ttl is larger than {longest}",
        )
    assert [key["name"] for key in stores.request("GET", "/kv").json()["data"]] == ["long"]


@pytest.mark.parametrize("key", ["%FF", "a%C3", "%ED%A0%80"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_key_that_is_not_utf_8_is_refused(common_home: Project, method: str, key: str) -> None:
    stores = Stores(common_home)
    assert told(stores.request(method, f"/kv/{key}")) == (422, "the key is not UTF-8")
    assert stores.request("GET", "/kv").json()["data"] == []


@pytest.mark.parametrize(
    ("key", "metadata", "message"),
    [
        ("k" * 513, None, "key is longer than 512 bytes"),
        ("ok", "{", "metadata is not JSON"),
        ("ok", '"' + "m" * 1023 + '"', "metadata is larger than 1024 bytes"),
        ("ok", "NaN", "metadata is not JSON"),
        ("ok", "1e999", "metadata is not JSON"),
        ("ok", '"\\ud800"', "metadata is not JSON"),
        ("ok", "[" * 20_000, "metadata is not JSON"),
    ],
)
def test_a_put_beyond_a_limit_is_refused(common_home: Project, key: str, metadata: str | None, message: str) -> None:
    stores = Stores(common_home)
    headers = {} if metadata is None else {"x-kv-metadata": metadata}
    assert told(stores.put(key, headers=headers)) == (422, message)
    assert stores.request("GET", "/kv").json()["data"] == []


def test_keys_are_listed_in_pages_by_prefix(stores: Stores) -> None:
    for number in range(7):
        stores.put(f"p:{number}", headers={"x-kv-metadata": str(number)})
    stores.put("q:0")
    names, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        query = {"prefix": "p:", "limit": 3} | ({"cursor": cursor} if cursor else {})
        page = stores.request("GET", "/kv", params=query).json()
        names += [(item["name"], item["metadata"]) for item in page["data"]]
        cursor, pages = page["next_cursor"], pages + 1
    assert names == [(f"p:{number}", number) for number in range(7)]
    assert pages == 3
    assert stores.request("GET", "/kv", params={"limit": 501}).status_code == 422


# SQL.


def test_a_query_gives_rows_and_counts(stores: Stores, cases: Cases) -> None:
    cases.run("exec", "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, photo BLOB)")
    reply = stores.query("INSERT INTO people (name, photo) VALUES (?, ?), (?, NULL)", "Ada", [1, 2, 255], "Bob")
    assert reply.status_code == 200, reply.text
    assert (reply.json()["changes"], reply.json()["last_row_id"]) == (2, 2)
    assert stores.rows("SELECT * FROM people WHERE name = ?", "Ada") == [{"id": 1, "name": "Ada", "photo": [1, 2, 255]}]
    assert cases.run("all", "SELECT count(*) AS n FROM people") == [{"n": 2}]


def test_a_failing_query_is_told_in_sqlites_words(stores: Stores) -> None:
    status, message = told(stores.query("SELECT * FROM nowhere"))
    assert status == 422
    assert "no such table: nowhere" in message
    assert stores.request("POST", "/database/query", json={"sql": 1}).status_code == 422


def test_a_boolean_parameter_is_a_number_as_in_functions(stores: Stores) -> None:
    assert stores.rows("SELECT ? + 1 AS a, ? AS b", True, False) == [{"a": 2, "b": 0}]


@pytest.mark.parametrize("value", [{"a": 1}, ["a"], [256], [-1], [True], [[1]]])
def test_a_parameter_that_is_no_value_is_refused(common_home: Project, value: object) -> None:
    status, message = told(Stores(common_home).query("SELECT ?, ?", 1, value))
    assert status == 422
    assert message.startswith("params: number 2 is an ")


def test_the_runtimes_own_export_is_no_query(stores: Stores) -> None:
    status, message = told(stores.query("PRAGMA miniflare_d1_export(?,?,?);", 0, 0))
    assert (status, message) == (422, "this statement is the runtime's own; GET the export instead")


def test_several_statements_are_one_transaction(stores: Stores) -> None:
    stores.query("CREATE TABLE t (n INTEGER UNIQUE)")
    assert stores.query("INSERT INTO t VALUES (1); INSERT INTO t VALUES (1)").status_code == 422
    assert stores.rows("SELECT * FROM t") == []
    assert stores.rows("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2); SELECT sum(n) AS s FROM t") == [{"s": 3}]


def test_figures_name_every_table_with_its_rows(stores: Stores) -> None:
    empty = stores.request("GET", "/database").json()
    assert empty["tables"] == []
    stores.query('CREATE TABLE "odd ""name" (n); CREATE TABLE b (n); INSERT INTO b VALUES (1), (2)')
    found = stores.request("GET", "/database").json()
    assert found["tables"] == [{"name": "b", "rows": 2}, {"name": 'odd "name', "rows": 0}]
    assert found["size_bytes"] > empty["size_bytes"]


def test_figures_are_of_a_thousand_tables_at_most(stores: Stores) -> None:
    names = [f"t{number:04}" for number in range(1_001)]
    assert stores.import_text("".join(f"CREATE TABLE {name} (n);" for name in names)).status_code == 200
    assert [table["name"] for table in stores.request("GET", "/database").json()["tables"]] == names[:-1]
    assert stores.request("GET", "/database/export").text.count("CREATE TABLE") == 1_001


def test_an_export_makes_the_same_database_in_another_project(
    server: Server, root: httpx.Client, stores: Stores
) -> None:
    stores.query(
        "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL, score REAL, photo BLOB, note TEXT);"
        "CREATE TABLE log (line TEXT);"
        "CREATE INDEX by_name ON people (name);"
        "CREATE VIEW names AS SELECT name FROM people;"
        "CREATE TRIGGER grow AFTER INSERT ON people BEGIN INSERT INTO log VALUES ('a; b'); "
        "INSERT INTO log VALUES (new.name); END;"
    )
    stores.query(
        "INSERT INTO people VALUES (?, ?, ?, ?, ?)", 7, "Ada; 'the' \"first\"", 0.1, [0, 255, 10], "a\nb\r\n-- c"
    )
    stores.query("INSERT INTO people (name) VALUES ('Zoë ☃')")
    exported = stores.request("GET", "/database/export")
    assert exported.headers["content-type"].startswith("application/sql")
    with new_project(server, root) as project:
        copy = Stores(project)
        done = copy.import_text(exported.content)
        assert done.status_code == 200, done.text
        assert done.json()["statements"] == 8
        for sql in (
            "SELECT id, name, score, typeof(score) AS t, photo, note FROM people ORDER BY id",
            "SELECT line FROM log",
            "SELECT * FROM names",
            "SELECT type, name, tbl_name FROM sqlite_schema WHERE name NOT LIKE '\\_cf%' ESCAPE '\\' ORDER BY name",
        ):
            assert copy.rows(sql) == stores.rows(sql), sql
        assert copy.request("GET", "/database/export").text == exported.text
        copy.query("INSERT INTO people (name) VALUES ('after')")
        assert copy.rows("SELECT count(*) AS n FROM log") == [{"n": 6}], "the trigger works in the copy"


def test_an_export_keeps_every_value_as_it_is(server: Server, root: httpx.Client, stores: Stores) -> None:
    stores.rows("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v, w TEXT)")
    stores.rows("CREATE TABLE sums (v INTEGER, twice INTEGER AS (v * 2) STORED) STRICT")
    stores.rows("INSERT INTO t (v) VALUES (175928847299117063), (9223372036854775807), (4.0), (0.1 + 0.2), (-9e999)")
    stores.rows(
        "INSERT INTO t (v, w) VALUES (x'', ?), (NULL, ?)", "written \\n and\na real one\r\n\\r", "zero \0 inside"
    )
    stores.rows("INSERT INTO sums VALUES (-9007199254740993)")
    stores.rows("CREATE VIEW seen AS SELECT v FROM t; CREATE TRIGGER no INSTEAD OF INSERT ON seen BEGIN SELECT 1; END")
    stores.rows("CREATE INDEX by_w ON t (w); ANALYZE; DELETE FROM t WHERE id = 7")
    everything = "SELECT id, typeof(v) AS t, quote(v) AS v, hex(w) AS w FROM t ORDER BY id"
    exported = stores.request("GET", "/database/export")
    with new_project(server, root) as project:
        copy = Stores(project)
        done = copy.import_text(exported.content)
        assert done.status_code == 200, done.text
        assert copy.rows(everything) == stores.rows(everything)
        assert copy.rows("SELECT v || '' AS v, twice || '' AS w FROM sums") == [
            {"v": "-9007199254740993", "w": "-18014398509481986"}
        ]
        assert copy.rows("INSERT INTO t (w) VALUES ('next') RETURNING id") == [{"id": 8}]


def test_a_virtual_table_cannot_be_exported(stores: Stores) -> None:
    stores.rows("CREATE VIRTUAL TABLE words USING fts5(word)")
    status, message = told(stores.request("GET", "/database/export"))
    assert (status, message) == (422, "cannot export a database with a virtual table (words); a backup holds it")


def test_an_import_of_many_statements_minds_semicolons_in_text_and_triggers(stores: Stores) -> None:
    lines = ["CREATE TABLE t (v TEXT); -- a comment; with a semicolon", "/* and; another */ CREATE TABLE log (v);"]
    lines += ["CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.v); SELECT 1; END;"]
    lines += ["INSERT INTO t VALUES ('row; #''s');".replace("#", str(n)) for n in range(250)]
    done = stores.import_text("\n".join(lines))
    assert (done.status_code, done.json()) == (200, {"statements": 253})
    assert stores.rows("SELECT count(*) AS n, max(v) AS v FROM log") == [{"n": 250, "v": "row; 99's"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CREATE TABLE a (n); INSERT INTO a VALUES (1); INSERT INTO nowhere VALUES (1);", "no such table: nowhere"),
        ("CREATE TABLE a (n); SELEC;", "syntax error"),
        ("CREATE TABLE a (n); INSERT INTO a VALUES ('unfinished", "unrecognized token"),
        ("CREATE TABLE a (n); INSERT INTO a VALUES ('" + "x" * 100_001 + "');", "longer than 100000 bytes"),
        ("  ;; -- nothing\n", "there is no SQL statement to import"),
        ("", "there is no SQL statement to import"),
        (b"CREATE TABLE a (n); \xff", "not UTF-8"),
    ],
)
def test_an_import_that_fails_changes_nothing(common_home: Project, text: str | bytes, message: str) -> None:
    stores = Stores(common_home)
    status, said = told(stores.import_text(text))
    assert status == 422
    assert message in said
    assert stores.request("GET", "/database").json()["tables"] == []


def test_sql_text_over_the_limit_is_refused_both_ways(tmp_path: Path) -> None:
    with Server(tmp_path / "data", max_body_mb=1) as server, server.client() as root, new_project(server, root) as home:
        stores = Stores(home)
        stores.rows("CREATE TABLE t (v TEXT)")
        stores.rows(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40) "
            "INSERT INTO t SELECT hex(randomblob(20000)) FROM n"
        )
        too_large = "the database as SQL text is larger than 1 MB; a backup has no such limit"
        assert told(stores.request("GET", "/database/export")) == (413, too_large)
        assert stores.import_text("-" * (1024 * 1024 + 1)).status_code == 413
        assert stores.rows("SELECT count(*) AS n FROM t") == [{"n": 40}]
        stores.rows("DELETE FROM t WHERE rowid > 2")
        assert stores.request("GET", "/database/export").text.count("INSERT INTO") == 2


def test_more_than_32_mib_at_once_is_too_large_in_both_directions(stores: Stores) -> None:
    row = "INSERT INTO t VALUES ('" + "x" * 90_000 + "');"
    status, message = told(stores.import_text("CREATE TABLE t (v);" + row * 380))
    assert (status, message) == (413, "statements and rows are larger than 32 MB together")
    stores.rows("CREATE TABLE t (v); INSERT INTO t VALUES (zeroblob(1700000)), (zeroblob(1700000))")
    for _ in range(4):
        stores.rows("INSERT INTO t SELECT v FROM t LIMIT 4")
    status, message = told(stores.request("GET", "/database/export"))
    assert status == 413
    assert "a backup has no such limit" in message


# Backups.


@pytest.mark.parametrize("rows", ["objects", "arrays"])
def test_a_large_result_is_passed_on_in_bounded_memory(stores: Stores, rows: str) -> None:
    """Hundreds of thousands of rows, which took the server 350 MB and stopped it for seconds."""
    sql = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) "
        "SELECT i AS a, i AS b, i AS c, i AS d FROM n"
    )
    server = psutil.Process(stores.server.process.pid)
    stores.query("SELECT 1")
    before = server.memory_info().rss
    body = {"sql": sql, "rows": rows}
    most, size = before, 0
    with stores.client.stream("POST", stores.base + "/database/query", json=body) as reply:
        assert reply.status_code == 200
        for part in reply.iter_raw():
            size += len(part)
            most = max(most, server.memory_info().rss)
    assert size > 6_000_000
    assert most < before + 40 * 1024**2


def test_columns_of_one_name_are_kept_where_rows_are_arrays(stores: Stores) -> None:
    sql = "SELECT 1 AS n, 2 AS n, 'a],\"meta\":{' AS t, x'00ff' AS b, NULL AS z"
    reply = stores.request("POST", "/database/query", json={"sql": sql, "rows": "arrays"}).json()
    assert reply["columns"] == ["n", "n", "t", "b", "z"]
    assert reply["rows"] == [[1, 2, 'a],"meta":{', [0, 255], None]]
    assert reply["changes"] == 0
    objects = stores.rows(sql)
    assert objects == [{"n": 2, "t": 'a],"meta":{', "b": [0, 255], "z": None}]
    none = stores.request("POST", "/database/query", json={"sql": "SELECT 1 AS n WHERE 0", "rows": "arrays"}).json()
    assert (none["columns"], none["rows"]) == (["n"], [])
    other = stores.request("POST", "/database/query", json={"sql": "SELECT 1", "rows": "lists"})
    assert other.status_code == 422


@pytest.mark.parametrize("rows", ["objects", "arrays"])
def test_rows_that_look_like_the_end_of_a_reply_are_only_rows(stores: Stores, rows: str) -> None:
    end = '],"meta":{"changes":7,"size_after":1}}]'
    sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT i, ? AS t FROM n"
    body = {"sql": sql, "params": [end], "rows": rows}
    reply = stores.request("POST", "/database/query", json=body).json()
    found = [tuple(row) if rows == "arrays" else (row["i"], row["t"]) for row in reply["rows"]]
    assert found == [(number, end) for number in range(1, 3001)]
    assert reply["changes"] == 0


def test_an_import_beside_other_tables_loses_nothing_and_replaces_when_asked(stores: Stores) -> None:
    stores.query("CREATE TABLE parent (id INTEGER PRIMARY KEY); INSERT INTO parent VALUES (1)")
    stores.query("CREATE TABLE child (of INTEGER REFERENCES parent(id)); INSERT INTO child VALUES (1)")
    stores.query("CREATE VIEW seen AS SELECT * FROM child; CREATE INDEX i ON child (of)")
    exported = stores.request("GET", "/database/export").content
    stores.query("DROP VIEW seen; DROP TABLE child")

    status, message = told(stores.import_text(exported))
    assert status == 422
    assert "table parent already exists" in message
    assert "?replace=true" in message
    assert stores.rows("SELECT * FROM parent") == [{"id": 1}]

    stores.query("CREATE TABLE later (n)")
    replaced = stores.request("POST", "/database/import?replace=true", content=exported)
    assert replaced.status_code == 200, replaced.text
    assert stores.request("GET", "/database/export").content == exported

    broken = stores.request(
        "POST", "/database/import?replace=true", content=exported + b"\nINSERT INTO nowhere VALUES (1);"
    )
    assert broken.status_code == 422
    assert stores.request("GET", "/database/export").content == exported


def test_a_backup_brings_both_stores_back(stores: Stores, cases: Cases) -> None:
    large = bytes(range(256)) * 1000
    stores.put("small", b"before", headers={"x-kv-metadata": '{"m":1}'})
    stores.put("large", large)
    stores.query("CREATE TABLE t (n); INSERT INTO t VALUES (1)")
    backup = stores.request("GET", "/backup")
    assert backup.status_code == 200
    assert backup.headers["content-type"] == "application/x-tar"
    assert ".backup.tar" in backup.headers["content-disposition"]
    stores.put("small", b"after")
    stores.put("later", b"after")
    stores.request("DELETE", "/kv/large")
    stores.query("DROP TABLE t; CREATE TABLE other (n)")

    assert stores.request("POST", "/restore", content=backup.content).status_code == 204

    assert cases.run("found", "small")["metadata"] == {"m": 1}
    assert stores.get("small").content == b"before"
    assert stores.get("large").content == large
    assert cases.run("get", "later") is None
    assert cases.run("all", "SELECT n FROM t") == [{"n": 1}]
    assert [table["name"] for table in stores.request("GET", "/database").json()["tables"]] == ["t"]


def test_a_backup_of_one_project_can_be_restored_in_another(server: Server, root: httpx.Client, stores: Stores) -> None:
    stores.put("k", b"moved")
    stores.query("CREATE TABLE t (n); INSERT INTO t VALUES (5)")
    content = stores.request("GET", "/backup").content
    with new_project(server, root) as project:
        other = Stores(project)
        assert other.request("POST", "/restore", content=content).status_code == 204
        assert other.get("k").content == b"moved"
        assert other.rows("SELECT n FROM t") == [{"n": 5}]


def test_a_project_that_stored_nothing_can_be_backed_up_and_restored(stores: Stores) -> None:
    content = stores.request("GET", "/backup").content
    stores.put("k")
    assert stores.request("POST", "/restore", content=content).status_code == 204
    assert stores.request("GET", "/kv").json()["data"] == []


def test_a_backup_taken_while_functions_write_is_one_moment(stores: Stores, cases: Cases) -> None:
    cases.run("exec", "CREATE TABLE steps (n INTEGER)")
    cases.run("step", 0)
    stop = threading.Event()
    written = [0]
    problems: list[BaseException] = []

    def write() -> None:
        try:
            while not stop.is_set():
                cases.run("step", written[0] + 1)
                written[0] += 1
        except (CaseFailed, AssertionError, httpx.HTTPError) as exc:
            problems.append(exc)

    writer = threading.Thread(target=write)
    writer.start()
    backups = []
    try:
        for _ in range(4):
            before = written[0]
            backups.append((before, stores.request("GET", "/backup"), written[0] + 1))
        wait_until(lambda: written[0] > 4 or problems, what="functions write on")
    finally:
        stop.set()
        writer.join()
    assert problems == [], "functions go on while a backup is taken"
    for before, backup, after in backups:
        assert stores.request("POST", "/restore", content=backup.content).status_code == 204
        in_kv, in_sql = cases.run("steps")
        assert before <= in_sql <= after
        assert in_kv - in_sql in (0, 1)


Members = list[tuple[tarfile.TarInfo, bytes]]


def _members(backup: bytes) -> Members:
    with tarfile.open(fileobj=io.BytesIO(backup)) as archive:
        opened = [(member, archive.extractfile(member)) for member in archive]
        return [(member, b"" if file is None else file.read()) for member, file in opened]


def _pack(members: Members) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for member, data in members:
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


def _renamed(members: Members, name: str) -> Members:
    """The largest file goes under another name."""
    largest, data = max(members, key=lambda item: len(item[1]))
    moved = tarfile.TarInfo(name)
    moved.size = len(data)
    return [(moved, data) if member is largest else (member, content) for member, content in members]


def _damaged(members: Members) -> Members:
    """Noise in every database, of the same size."""
    return [
        (member, b"noise " * (len(data) // 6 + 1) if member.name.endswith(".sqlite") else data)
        for member, data in members
    ]


def _linked(members: Members) -> Members:
    link = tarfile.TarInfo("objects/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return [*members, (link, b"")]


def _member(name: str, kind: bytes, data: bytes = b"", **values: Any) -> tuple[tarfile.TarInfo, bytes]:
    made = tarfile.TarInfo(name)
    made.type, made.size = kind, len(data)
    for key, value in values.items():
        setattr(made, key, value)
    return made, data


def _with(*more: tuple[tarfile.TarInfo, bytes]) -> Callable[[bytes], bytes]:
    return lambda backup: _pack([*_members(backup), *more])


def _first(*members: tuple[tarfile.TarInfo, bytes]) -> Callable[[bytes], bytes]:
    return lambda backup: _pack([*members, *_members(backup)[1:]])


def _twice(backup: bytes) -> bytes:
    members = _members(backup)
    return _pack([*members, max(members, key=lambda item: len(item[1]))])


def _sparse(name: str, size: int) -> bytes:
    """A member in GNU's old form that says it is `size` bytes, and is none."""
    header = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[483:495] = b"%011o\0" % size
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 8 * 32)
    return bytes(header)


def _extended(**headers: str) -> Callable[[bytes], bytes]:
    """The last member has these in an extended header."""

    def make(backup: bytes) -> bytes:
        members = _members(backup)
        members[-1][0].pax_headers = headers
        return _pack(members)

    return make


_MARK = "isolet-backup-1"
_IN = "objects/isolet-kv/"
GARBAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "text": lambda _: b"no tar at all" * 100,
    "unmarked": lambda backup: _pack(_members(backup)[1:]),
    "a mark alone": lambda backup: _pack(_members(backup)[:1]),
    "a third of it": lambda backup: backup[: len(backup) // 3],
    "most of it": lambda backup: backup[: len(backup) * 3 // 4],
    "a file less": lambda backup: _pack(_members(backup)[:-1]),
    "compressed": gzip.compress,
    "out of the folder": lambda backup: _pack(_renamed(_members(backup), "objects/../../outside")),
    "absolute": lambda backup: _pack(_renamed(_members(backup), "/outside")),
    "another folder": lambda backup: _pack(_renamed(_members(backup), "other/x.sqlite")),
    "a file for a folder": lambda backup: _pack(_renamed(_members(backup), "objects")),
    "a link": lambda backup: _pack(_linked(_members(backup))),
    "no namespace": lambda backup: _pack(_renamed(_members(backup), "objects/x")),
    "folders without end": lambda backup: _pack(_renamed(_members(backup), "objects/" + "a/" * 3000 + "x")),
    "a name without end": lambda backup: _pack(_renamed(_members(backup), "objects/isolet-kv/" + "a" * 300)),
    "another value": lambda backup: backup.replace(b"backed up", b"packed up", 1),
    "damaged databases": lambda backup: _pack(_damaged(_members(backup))),
    "a sparse mark of gigabytes": lambda _: _sparse(_MARK, 3 * 1024**3) + bytes(1024),
    "a sparse file": lambda backup: backup[:-10240] + _sparse(_IN + "s", 3 * 1024**3) + bytes(10240),
    "a large mark": _first(_member(_MARK, tarfile.REGTYPE, b" " * 5000)),
    "a folder for a mark": _first(_member(_MARK, tarfile.DIRTYPE)),
    "a link for a mark": _first(_member(_MARK, tarfile.SYMTYPE, linkname="/etc/passwd")),
    "a mark that is no JSON": _first(_member(_MARK, tarfile.REGTYPE, b"[" * 4000)),
    "a mark of a list": _first(_member(_MARK, tarfile.REGTYPE, b"[1]")),
    "a mark without figures": _first(_member(_MARK, tarfile.REGTYPE, b'{"files": true, "bytes": 1.5}')),
    "a mark of texts": _first(_member(_MARK, tarfile.REGTYPE, b'{"files": "1", "bytes": null}')),
    "a hard link": _with(_member(_IN + "x", tarfile.LNKTYPE, linkname="../../../master-key")),
    "a pipe": _with(_member(_IN + "x", tarfile.FIFOTYPE)),
    "a device": _with(_member(_IN + "x", tarfile.CHRTYPE, devmajor=1, devminor=5)),
    "a block device": _with(_member(_IN + "x", tarfile.BLKTYPE, devmajor=8)),
    "a contiguous file": _with(_member(_IN + "x", tarfile.CONTTYPE)),
    "a kind nobody knows": _with(_member(_IN + "x", b"Z")),
    "a file twice": _twice,
    "a folder named like a file": _with(_member(_IN + "x/y", tarfile.REGTYPE), _member(_IN + "x", tarfile.REGTYPE)),
    "a file named like a folder": _with(_member(_IN + "x", tarfile.REGTYPE), _member(_IN + "x/y", tarfile.REGTYPE)),
    "a file as a folder": _with(_member(_IN + "x", tarfile.REGTYPE), _member(_IN + "x", tarfile.DIRTYPE)),
    "a name of dots": _with(_member(_IN + ".", tarfile.REGTYPE)),
    "an empty part": _with(_member("objects//x", tarfile.REGTYPE)),
    "a larger size": _extended(size="99999999999"),
    "a sparse size": _extended(**{"GNU.sparse.realsize": "99999999999"}),
    "a link by extension": _extended(linkpath="/etc/passwd"),
    "a long name by extension": _extended(path=_IN + "n" * 5000),
    "a large extension": _extended(comment="c" * 100_000),
    "extensions for all": lambda backup: _member("g", tarfile.XGLTYPE, b"")[0].tobuf() + backup,
}


@pytest.fixture(scope="module")
def backed_up(server: Server, root: httpx.Client) -> Iterator[tuple[Stores, bytes]]:
    """The stores of a project that have changed since a backup, and the backup."""
    with new_project(server, root) as project:
        stores = Stores(project)
        stores.put("k", b"backed up" * 10_000)
        stores.query("CREATE TABLE t (n); INSERT INTO t VALUES (1)")
        backup = stores.request("GET", "/backup").content
        stores.put("k", b"kept")
        yield stores, backup


@pytest.mark.parametrize("make", GARBAGE.values(), ids=GARBAGE.keys())
def test_what_is_no_backup_is_refused_and_changes_nothing(
    backed_up: tuple[Stores, bytes], make: Callable[[bytes], bytes]
) -> None:
    stores, backup = backed_up
    status, message = told(stores.request("POST", "/restore", content=make(backup)))
    assert status == 422
    assert message.startswith("the file is not a backup that Isolet made")
    assert "/projects/" not in message
    assert stores.get("k").content == b"kept"
    assert stores.rows("SELECT n FROM t") == [{"n": 1}]


def test_a_sparse_restore_takes_no_memory(stores: Stores) -> None:
    server = psutil.Process(stores.server.process.pid)
    before = server.memory_info().rss
    most = [before]
    with ThreadPoolExecutor(1) as pool:
        file = _sparse(_MARK, 8 * 1024**3) + bytes(1024)
        sent = pool.submit(stores.request, "POST", "/restore", content=file)
        while not sent.done():
            most.append(server.memory_info().rss)
    assert sent.result().status_code == 422
    assert max(most) < before + 100 * 1024**2


def _with_entries(backup: bytes, folder: Path, sql: str, *values: object) -> bytes:
    """The backup with what a statement makes of the entries of its KV, and with larger values in files."""
    members = _members(backup)[1:]
    for place, (member, data) in enumerate(members):
        if member.name.startswith("blobs/") and member.isfile():
            members[place] = _member(member.name, tarfile.REGTYPE, bytes(26 * 1024**2))
        elif member.name.startswith(_IN) and member.isfile():
            file = folder / "kv.sqlite"
            file.write_bytes(data)
            with contextlib.closing(sqlite3.connect(file)) as connection, connection:
                if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'entries'").fetchone():
                    connection.execute(sql, values)
            members[place] = _member(member.name, tarfile.REGTYPE, file.read_bytes())
    files = [(member.name, data) for member, data in members if member.isfile()]
    figures = {
        "files": len(files),
        "bytes": sum(len(data) for _, data in files),
        "crc32": sum(zlib.crc32(data, zlib.crc32(name.encode())) for name, data in files),
    }
    return _pack([_member(_MARK, tarfile.REGTYPE, json.dumps(figures).encode()), *members])


def test_what_no_put_could_have_written_is_restored_and_does_no_harm(stores: Stores, tmp_path: Path) -> None:
    stores.put("large", bytes(100_000), headers={"x-kv-metadata": "1"})
    stores.put("small", b"v", headers={"x-kv-metadata": "2"})
    backup = stores.request("GET", "/backup").content
    odd = "UPDATE entries SET metadata = ?, expiration = 'soon' WHERE key = 'small'"
    for metadata, shown in (("[" * 9_000, "[" * 1_024), ("{no JSON}", "{no JSON}")):
        content = _with_entries(backup, tmp_path, odd, metadata)
        assert stores.request("POST", "/restore", content=content).status_code == 204
        keys = [{"name": "large", "metadata": 1}, {"name": "small", "metadata": shown}]
        assert stores.request("GET", "/kv").json()["data"] == keys
        assert stores.get("small").headers["x-kv-metadata"] == json.dumps(shown)
    assert told(stores.get("large")) == (413, "the answer is larger than 25 MB")

    rows = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) SELECT 'n' || i, x'', NULL, NULL"
    )
    content = _with_entries(backup, tmp_path, f"INSERT INTO entries {rows}, ? FROM n", "m" * 10_000)
    assert stores.request("POST", "/restore", content=content).status_code == 204
    assert told(stores.request("GET", "/kv?limit=500")) == (413, "the answer is larger than 4 MB")
    assert len(stores.request("GET", "/kv?limit=100").json()["data"]) == 100


def test_one_restore_of_a_project_is_under_way_at_a_time(stores: Stores) -> None:
    def slowly() -> Iterator[bytes]:
        yield bytes(1024)
        begun.set()
        assert ended.wait(60)
        yield b"more"

    begun, ended = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(stores.request, "POST", "/restore", content=slowly())
        assert begun.wait(60)

        def refused() -> bool:
            return stores.request("GET", "/backup").status_code == 429

        wait_until(refused, timeout_s=60)
        busy = stores.request("POST", "/restore", content=b"x")
        assert (busy.status_code, "retry-after" in busy.headers) == (429, True)
        ended.set()
        assert first.result().status_code == 422
    assert stores.request("GET", "/backup").status_code == 200


@pytest.mark.parametrize("kind", ["link", "link to a folder", "folder that is a link", "pipe", "second name"])
def test_a_backup_holds_nothing_that_a_broken_storage_process_planted(
    server: Server, stores: Stores, kind: str, tmp_path: Path
) -> None:
    stores.put("k")
    folder = next(
        path for path in (server.data_dir / "projects" / stores.project.id).glob("objects/*") if path.is_dir()
    )
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("not of this project")
    match kind:
        case "link":
            (folder / "x.sqlite").symlink_to(outside / "secret")
        case "link to a folder":
            (folder / "x").symlink_to(outside)
        case "folder that is a link":
            folder.rename(outside / "moved")
            folder.symlink_to(outside / "moved")
        case "pipe":
            os.mkfifo(folder / "x.sqlite")
        case "second name":
            # What a hard link is seen by, on whichever file system: another name of the same file.
            some = next(path for path in folder.iterdir() if path.is_file())
            os.link(some, folder / "other.sqlite")

    reply = stores.request("GET", "/backup")

    assert reply.status_code == 500
    assert b"not of this project" not in reply.content


def test_a_disk_without_room_is_told_and_leaves_nothing_behind(tmp_path: Path) -> None:
    base = "/isolet/v1/projects/default"
    with Server(tmp_path / "data") as server, server.client() as client:
        for number in range(4):
            client.put(f"{base}/kv/{number}", content=bytes(1_000_000)).raise_for_status()
        # Of this process alone: its files may not be as large as a backup.
        _, most = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (3_000_000, most))
        backup = client.get(f"{base}/backup")
        restore = client.post(f"{base}/restore", content=bytes(4_000_000))
        left = [path.name for path in (server.data_dir / "projects").glob(".*")]
        kept = client.get(f"{base}/kv/3")

    assert told(backup) == (503, "cannot back up the stores: File too large")
    assert told(restore) == (503, "cannot restore the stores: File too large")
    assert left == []
    assert kept.content == bytes(1_000_000)


# Roles.

_ROUTES = [
    ("GET", "/kv", "deploy"),
    ("GET", "/kv/k", "deploy"),
    ("PUT", "/kv/k", "deploy"),
    ("DELETE", "/kv/k", "deploy"),
    ("GET", "/database", "deploy"),
    ("POST", "/database/query", "deploy"),
    ("GET", "/database/export", "deploy"),
    ("POST", "/database/import", "deploy"),
    ("GET", "/backup", "admin"),
    ("POST", "/restore", "admin"),
]


def test_every_route_wants_its_role_and_a_key_of_the_project(
    server: Server, root: httpx.Client, home: Project, stores: Stores
) -> None:
    stores.put("k", b"kept")
    with new_project(server, root) as stranger:
        keys = {role: home.key(role) for role in ("invoke", "deploy", "admin")}
        foreign = stranger.key("admin")
        for method, path, role in _ROUTES:

            def status(key: str, method: str = method, path: str = path) -> int:
                # What is sent is good for no route but the query, so that nobody changes anything.
                with home.server.client(key) as client:
                    json = {"sql": "SELECT 1"}
                    return client.request(method, stores.base + path, json=json).status_code

            refused = {"": 401, "isk_nobody": 401, foreign: 404, keys["invoke"]: 403}
            if role == "admin":
                refused[keys["deploy"]] = 403
            for key, expected in refused.items():
                assert status(key) == expected, (method, path, key)
            allowed = [keys[name] for name in ("deploy", "admin") if keys[name] not in refused]
            assert [status(key) in (200, 204, 400, 404, 422) for key in allowed] == [True] * len(allowed)


def test_an_unknown_project_has_no_stores(root: httpx.Client) -> None:
    reply = root.get("/isolet/v1/projects/never-made/kv")
    assert told(reply) == (404, "Project not found")
