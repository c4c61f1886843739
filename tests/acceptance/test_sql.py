"""`env.DB` through deployed functions: the runtime's own D1, shared by a project and by nobody else."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.cases import CaseFailed, Cases
from tests.support.kapso import Kapso
from tests.support.projects import Project, new_project
from tests.support.server import Server

CASES = """
const bind = (db, sql, params) => params ? db.prepare(sql).bind(...params) : db.prepare(sql);
const cases = {
  all: (env, sql, params) => bind(env.DB, sql, params).all(),
  run: (env, sql, params) => bind(env.DB, sql, params).run(),
  first: (env, sql, params, column) => bind(env.DB, sql, params).first(column),
  raw: (env, sql, params, options) => bind(env.DB, sql, params).raw(options),
  exec: (env, sql) => env.DB.exec(sql),
  batch: (env, statements) => env.DB.batch(statements.map(([sql, params]) => bind(env.DB, sql, params))),
  async types(env) {
    const statement = env.DB.prepare("SELECT ? AS v, typeof(?1) AS t");
    const found = {};
    const values = {
      null: null, integer: 42, large: Number.MAX_SAFE_INTEGER, real: 1.5, text: "tëxt ☃", yes: true, no: false,
      buffer: Uint8Array.of(0, 1, 255).buffer, view: Uint8Array.of(9, 8, 7).subarray(1), empty: "",
    };
    for (const [name, value] of Object.entries(values)) {
      const { v, t } = await statement.bind(value).first();
      found[name] = [v, t];
    }
    return found;
  },
  async undefinedValue(env) { await env.DB.prepare("SELECT ?").bind(undefined).first(); },
  async blobRoundTrip(env, size) {
    const data = new Uint8Array(size);
    for (let at = 0; at < size; at += 65536) crypto.getRandomValues(data.subarray(at, Math.min(at + 65536, size)));
    await env.DB.exec("CREATE TABLE IF NOT EXISTS blobs (v BLOB)");
    await env.DB.prepare("INSERT INTO blobs VALUES (?)").bind(data).run();
    const { v } = await env.DB.prepare("SELECT v FROM blobs WHERE length(v) = ?").bind(size).first();
    return v.length === size && v.every((byte, i) => byte === data[i]);
  },
  async session(env, constraint) {
    const session = env.DB.withSession(constraint);
    await session.prepare("CREATE TABLE IF NOT EXISTS session (n INTEGER)").run();
    await session.batch([session.prepare("DELETE FROM session"), session.prepare("INSERT INTO session VALUES (7)")]);
    const seen = await session.prepare("SELECT n FROM session").first("n");
    const bookmark = session.getBookmark();
    const later = env.DB.withSession(bookmark ?? "first-unconstrained");
    return { seen, again: await later.prepare("SELECT n FROM session").first("n"), bookmark: typeof bookmark };
  },
  async cause(env, sql) {
    try { await env.DB.prepare(sql).run(); } catch (error) { return [error.message, error.cause?.message ?? null]; }
  },
  async statement(env, bytes) {
    const text = "SELECT '" + "x".repeat(bytes - 9) + "'";
    return Object.values(await env.DB.prepare(text).first())[0].length;
  },
  increment: (env, key) => env.DB.batch([
    env.DB.prepare("INSERT INTO counters VALUES (?, 0) ON CONFLICT DO NOTHING").bind(key),
    env.DB.prepare("UPDATE counters SET n = n + 1 WHERE k = ?").bind(key),
    env.DB.prepare("SELECT n FROM counters WHERE k = ?").bind(key),
  ]),
  async increments(env, key, count) {
    const seen = await Promise.all(Array.from({ length: count }, () => cases.increment(env, key)));
    return seen.map((results) => results[2].results[0].n);
  },
  async fill(env, rows, size) {
    for (let row = 0; row < rows; row += 1) {
      await env.DB.prepare("INSERT INTO fill VALUES (?)").bind("x".repeat(size)).run();
    }
  },
};
"""
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


@pytest.fixture(scope="module")
def home(server: Server, root: httpx.Client) -> Iterator[Project]:
    with new_project(server, root) as project:
        yield project


@pytest.fixture(scope="module")
def db(home: Project) -> Cases:
    return Cases(Kapso(home.client), CASES)


@pytest.fixture(scope="module")
def people(db: Cases) -> None:
    """A table of three rows."""
    db.run("exec", "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, age INTEGER)")
    db.run("run", "INSERT INTO people (name, age) VALUES ('Ada', 36), ('Bob', NULL), ('Cyd', 20)")


@pytest.mark.usefixtures("people")
def test_all_gives_the_rows_and_facts_about_the_query(db: Cases) -> None:
    found = db.run("all", "SELECT name, age FROM people WHERE age > ? ORDER BY age", [10])
    assert found["success"] is True
    assert found["results"] == [{"name": "Cyd", "age": 20}, {"name": "Ada", "age": 36}]
    assert found["meta"]["changes"] == 0
    assert found["meta"]["rows_read"] >= 3
    assert found["meta"]["size_after"] > 0
    assert found["meta"]["duration"] >= 0


def test_run_tells_changes_and_the_last_row_id(db: Cases) -> None:
    db.run("exec", "CREATE TABLE runs (id INTEGER PRIMARY KEY, v TEXT)")
    meta = db.run("run", "INSERT INTO runs (v) VALUES (?), (?)", ["a", "b"])["meta"]
    assert (meta["changes"], meta["last_row_id"], meta["rows_written"] >= 2, meta["changed_db"]) == (2, 2, True, True)
    assert db.run("run", "UPDATE runs SET v = 'c'")["meta"]["changes"] == 2
    assert db.run("run", "DELETE FROM runs WHERE id = 9")["meta"]["changes"] == 0


@pytest.mark.usefixtures("people")
def test_first_gives_a_row_a_column_or_null(db: Cases) -> None:
    query = "SELECT * FROM people WHERE name = ?"
    assert db.run("first", query, ["Ada"]) == {"id": 1, "name": "Ada", "age": 36}
    assert db.run("first", query, ["Ada"], "age") == 36
    assert db.run("first", query, ["Nobody"]) is None
    with pytest.raises(CaseFailed, match=r"D1_COLUMN_NOTFOUND: Column not found \(height\)"):
        db.run("first", query, ["Ada"], "height")


@pytest.mark.usefixtures("people")
def test_raw_gives_arrays_and_the_names_of_columns_on_demand(db: Cases) -> None:
    query = "SELECT id, name FROM people ORDER BY id LIMIT 2"
    assert db.run("raw", query) == [[1, "Ada"], [2, "Bob"]]
    assert db.run("raw", query, None, {"columnNames": True}) == [["id", "name"], [1, "Ada"], [2, "Bob"]]
    assert db.run("raw", "SELECT 1 AS x, 2 AS x") == [[1, 2]]


def test_parameters_may_be_numbered_and_are_no_sql(db: Cases) -> None:
    assert db.run("first", "SELECT ?2 AS b, ?1 AS a", ["one", "two"]) == {"a": "one", "b": "two"}
    text = "'; DROP TABLE people; --"
    assert db.run("first", "SELECT ? AS v", [text], "v") == text


def test_values_come_back_as_they_were_bound(db: Cases) -> None:
    """Numbers are bound as reals, as D1 does it; a column of type INTEGER stores them as integers."""
    assert db.run("types") == {
        "null": [None, "null"],
        "integer": [42, "real"],
        "large": [9_007_199_254_740_991, "real"],
        "real": [1.5, "real"],
        "text": ["tëxt ☃", "text"],
        "yes": [1, "real"],
        "no": [0, "real"],
        "buffer": [[0, 1, 255], "blob"],
        "view": [[8, 7], "blob"],
        "empty": ["", "text"],
    }
    db.run("exec", "CREATE TABLE typed (n INTEGER)")
    db.run("run", "INSERT INTO typed VALUES (?)", [42])
    assert db.run("first", "SELECT typeof(n) AS t FROM typed", None, "t") == "integer"


def test_a_blob_comes_back_byte_for_byte(db: Cases) -> None:
    assert db.run("blobRoundTrip", 200_000) is True


def test_undefined_cannot_be_bound(db: Cases) -> None:
    with pytest.raises(CaseFailed, match="D1_TYPE_ERROR: Type 'undefined' not supported for value 'undefined'"):
        db.run("undefinedValue")


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("sql", "params", "text"),
    [
        ("SELECT * FROM nowhere", None, "D1_ERROR: no such table: nowhere: SQLITE_ERROR"),
        ("SELEC 1", None, 'D1_ERROR: near "SELEC": syntax error at offset 0: SQLITE_ERROR'),
        ("SELECT ?, ?", [1], "D1_ERROR: Wrong number of parameter bindings for SQL query."),
        ("INSERT INTO people (name) VALUES ('Ada')", None, "UNIQUE constraint failed: people.name: SQLITE_CONSTRAINT"),
        ("INSERT INTO people (name) VALUES (NULL)", None, "NOT NULL constraint failed: people.name"),
        ("ATTACH '/tmp/x' AS y", None, "not authorized"),
        ("SELECT * FROM pragma_database_list", None, "not authorized"),
        ("BEGIN", None, "state.storage.transaction()"),
    ],
)
def test_a_failing_statement_throws_what_sqlite_says(
    db: Cases, sql: str, params: list[object] | None, text: str
) -> None:
    with pytest.raises(CaseFailed) as failed:
        db.run("run", sql, params)
    assert text in str(failed.value)
    assert db.run("first", "SELECT count(*) AS n FROM people", None, "n") == 3


def test_an_error_carries_its_cause(db: Cases) -> None:
    message, cause = db.run("cause", "SELECT * FROM nowhere")
    assert message == "D1_ERROR: no such table: nowhere: SQLITE_ERROR"
    assert cause == "no such table: nowhere: SQLITE_ERROR"


def test_a_batch_runs_in_order_and_gives_each_result(db: Cases) -> None:
    found = db.run(
        "batch",
        [
            ["CREATE TABLE batch_order (n INTEGER)", None],
            ["INSERT INTO batch_order VALUES (?), (?)", [1, 2]],
            ["SELECT sum(n) AS total FROM batch_order", None],
        ],
    )
    assert [result["meta"]["changes"] for result in found][1] == 2
    assert found[2]["results"] == [{"total": 3}]


def test_a_failing_statement_in_a_batch_rolls_all_back(db: Cases) -> None:
    db.run("exec", "CREATE TABLE atomic (n INTEGER UNIQUE)")
    with pytest.raises(CaseFailed, match="UNIQUE constraint failed"):
        db.run(
            "batch",
            [
                ["INSERT INTO atomic VALUES (1)", None],
                ["CREATE TABLE atomic_made (n INTEGER)", None],
                ["INSERT INTO atomic VALUES (1)", None],
                ["INSERT INTO atomic VALUES (2)", None],
            ],
        )
    assert db.run("all", "SELECT * FROM atomic")["results"] == []
    assert db.run("all", "SELECT name FROM sqlite_schema WHERE name = 'atomic_made'")["results"] == []


def test_exec_runs_a_statement_a_line_and_counts_them(db: Cases) -> None:
    done = db.run(
        "exec", "CREATE TABLE lines (n INTEGER);\nINSERT INTO lines VALUES (1);\nINSERT INTO lines VALUES (2);"
    )
    assert done["count"] == 3
    assert db.run("first", "SELECT sum(n) AS n FROM lines", None, "n") == 3
    with pytest.raises(CaseFailed, match=r"D1_EXEC_ERROR: Error in line 1: SELEC: near \"SELEC\": syntax error"):
        db.run("exec", "SELEC")


@pytest.mark.parametrize("constraint", ["first-primary", "first-unconstrained"])
def test_a_session_reads_what_it_wrote(db: Cases, constraint: str) -> None:
    found = db.run("session", constraint)
    assert (found["seen"], found["again"]) == (7, 7)


def test_concurrent_increments_inside_batches_lose_nothing(db: Cases) -> None:
    db.run("exec", "CREATE TABLE counters (k TEXT PRIMARY KEY, n INTEGER NOT NULL)")
    seen: list[int] = []
    callers = [threading.Thread(target=lambda: seen.extend(db.run("increments", "c", 25))) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sorted(seen) == list(range(1, 201))


def test_a_statement_may_be_100_kb_long_and_no_longer(db: Cases) -> None:
    assert db.run("statement", 100_000) == 99_991
    with pytest.raises(CaseFailed, match="statement too long: SQLITE_TOOBIG"):
        db.run("statement", 100_001)


def test_at_most_100_parameters_can_be_bound(db: Cases) -> None:
    sql = "SELECT " + ",".join("?" * 101)
    assert len(db.run("raw", sql[:-2], list(range(100)))[0]) == 100
    with pytest.raises(CaseFailed, match="too many SQL variables"):
        db.run("raw", sql, list(range(101)))


def test_functions_of_a_project_share_tables_and_other_projects_have_none(
    server: Server, root: httpx.Client, home: Project, db: Cases
) -> None:
    db.run("exec", "CREATE TABLE shared (v TEXT)\nINSERT INTO shared VALUES ('first')")
    sibling = Cases(Kapso(home.client), CASES, name="Sibling")
    assert sibling.run("first", "SELECT v FROM shared", None, "v") == "first"
    with new_project(server, root) as stranger:
        other = Cases(Kapso(stranger.client), CASES)
        with pytest.raises(CaseFailed, match="no such table: shared"):
            other.run("all", "SELECT * FROM shared")
        other.run("exec", "CREATE TABLE shared (v TEXT)\nINSERT INTO shared VALUES ('other')")
        assert other.run("first", "SELECT v FROM shared", None, "v") == "other"
    assert db.run("first", "SELECT v FROM shared", None, "v") == "first"


def test_a_query_that_runs_away_is_killed_and_hurts_no_other_project(
    server: Server, root: httpx.Client, home: Project
) -> None:
    with new_project(server, root) as runaway:
        stuck = Cases(Kapso(runaway.client), CASES)
        other = Cases(Kapso(home.client), CASES, name="Unhurt")
        stuck.run("exec", "CREATE TABLE kept (n INTEGER)\nINSERT INTO kept VALUES (1)")
        failures: list[str] = []

        def run_away() -> None:
            try:
                stuck.run("all", ENDLESS)
            except CaseFailed as exc:
                failures.append(str(exc))

        began = time.monotonic()
        caller = threading.Thread(target=run_away)
        caller.start()
        reads = 0
        while caller.is_alive():
            assert other.run("first", "SELECT 1 AS one", None, "one") == 1
            reads += caller.is_alive()
            caller.join(0.05)
        assert time.monotonic() - began > 9
        assert reads >= 3, "another project's reads go on"
        assert failures == ["Error: Network connection lost."]
        assert stuck.run("first", "SELECT n FROM kept", None, "n") == 1
        killed = [line for line in server.log.splitlines() if "storage process killed" in line and runaway.id in line]
        assert len(killed) == 1
        assert "a statement ran over its time" in killed[0]


def test_a_database_over_its_size_is_an_error_to_the_function_and_reads_go_on(tmp_path: Path) -> None:
    with Server(tmp_path / "data", database_max_mb=1) as server, server.client() as client:
        db = Cases(Kapso(client), CASES)
        db.run("exec", "CREATE TABLE fill (v TEXT)")
        with pytest.raises(CaseFailed) as failed:
            db.run("fill", 200, 10_000)
        assert "D1_ERROR: disk I/O error: SQLITE_IOERR" in str(failed.value)
        rows = db.run("first", "SELECT count(*) AS n FROM fill", None, "n")
        assert 20 < rows < 110, "what was acknowledged is there, and it is less than the limit"
        assert db.run("first", "SELECT 1 AS one", None, "one") == 1
        db.run("run", "DELETE FROM fill")
        assert db.run("first", "SELECT count(*) AS n FROM fill", None, "n") == 0
