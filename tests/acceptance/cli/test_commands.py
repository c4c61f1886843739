"""The commands that talk to a server, on one project of a real one."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import httpx
import pytest

from tests.support.isolet_command import Isolet
from tests.support.projects import Project
from tests.support.server import ROOT_KEY, Server
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def operator(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Isolet:
    """With the root key."""
    return Isolet(tmp_path_factory.mktemp("operator"), ISOLET_URL=server.url, ISOLET_API_KEY=ROOT_KEY)


def deployed(project: Project, name: str, code: str, **members: object) -> None:
    reply = project.client.put(
        f"/isolet/v1/projects/{project.slug}/functions/{name}?wait=120", json={"code": code, **members}
    )
    assert reply.is_success, reply.text


def recorded(project: Project, call: str) -> None:
    wait_until(
        lambda: (
            project.client.get(f"/isolet/v1/invocations/{call}").json().get("finished_at", 1) is not None
            and project.client.get(f"/isolet/v1/invocations/{call}").is_success
        ),
        what="the record of the call",
    )


def test_functions_are_listed_shown_rolled_back_and_deleted(isolet: Isolet, own_project: Project) -> None:
    for number in (1, 2):
        deployed(own_project, "changing", f"export default () => new Response('{number}')")
    assert "changing\tchanging\tdeployed\t2" in isolet("functions", "list").text
    assert isolet("functions", "get", "changing", "--json").json["version"] == 2
    assert [one["version"] for one in isolet("functions", "versions", "changing", "--json").json] == [2, 1]
    assert isolet("functions", "rollback", "changing").text == "changing is at version 1 now.\n"
    assert isolet("invoke", "changing").text == "1"
    assert isolet.run("functions", "rollback", "changing").code == 2
    assert isolet("functions", "rollback", "changing", "2", "--json").json["version"] == 2
    wait_until(lambda: "calls\t1\n" in isolet("functions", "metrics", "changing").text, what="the call's figures")
    isolet("functions", "delete", "changing")
    assert isolet.run("functions", "get", "changing").code == 4


def test_calls_are_listed_shown_and_made_again(isolet: Isolet, own_project: Project) -> None:
    failed = isolet.run("invoke", "hello", "--path", "/throw", "--json").json["invocation_id"]
    recorded(own_project, failed)
    shown = isolet("invocations", "hello", "--status", "failed", "--since", "1h", "--json").json
    assert failed in [one["id"] for one in shown]
    assert failed in isolet("invocations", "--grep", "broken", "--limit", "500").text
    record = isolet("invocations", "get", failed)
    assert "hello \\u001b]0;title" in record.text
    assert "\x1b" not in record.text
    again = isolet.run("replay", failed, "--json")
    assert (again.code, again.json["outcome"], again.json["id"] != failed) == (1, "handler_failed", True)


def test_asynchronous_calls_are_listed_and_told_again(isolet: Isolet, own_project: Project) -> None:
    call = isolet("invoke", "hello", "--async", "--json").json["invocation_id"]
    # Records are written a little later than a call ends.
    listed = ("jobs", "list", "--function", "hello", "--all", "--json")
    wait_until(lambda: call in [one["id"] for one in isolet(*listed).json], what="the call in the list")
    assert isolet("jobs", "get", call, "--json").json["kind"] == "async"
    recorded(own_project, call)
    assert isolet.run("jobs", "cancel", call).code == 1
    assert isolet("jobs", "deliveries", "--json").json == []
    assert isolet("jobs", "redeliver", "--host", "nobody.example", "--json").json == {"redelivered": 0}
    assert isolet.run("invocations", "redeliver", call).code == 1


def test_variables_are_set_of_any_json(isolet: Isolet) -> None:
    assert isolet("env", "set", "GREETING=a=b\n", 'RULES:={"a": [1]}', "--function", "hello").text.splitlines() == [
        "GREETING=a=b\\n",
        'RULES={"a": [1]}',
    ]
    assert isolet("invoke", "hello").json["greeting"] == "a=b\n"
    isolet("env", "set", "GREETING", "Hi", "--function", "hello")
    assert isolet("env", "list", "--function", "hello", "--json").json == {"GREETING": "Hi", "RULES": {"a": [1]}}
    assert isolet("env", "delete", "GREETING", "RULES", "--function", "hello", "--json").json == {}
    assert isolet.run("env", "set", "A:={", "--function", "hello").code == 2
    assert isolet.run("env", "set", "A", "--function", "hello").code == 2


def test_a_secret_comes_from_standard_input_or_a_file_and_is_never_shown(
    isolet: Isolet, own_project: Project, tmp_path: Path
) -> None:
    code = "export default (request, env) => Response.json([env.TOKEN, env.PEM])"
    deployed(own_project, "keeper", code)
    pem = tmp_path / "key.pem"
    pem.write_text("line\nline\n")
    done = isolet("secrets", "set", "TOKEN", "--function", "keeper", given="täke it\n")
    assert "täke" not in done.text + done.err
    isolet("secrets", "set", "PEM", "--function", "keeper", "--file", str(pem))
    assert isolet("invoke", "keeper").json == ["täke it", "line\nline\n"]
    listed = isolet("secrets", "list", "--function", "keeper", "--json")
    assert {one["name"] for one in listed.json} == {"TOKEN", "PEM"}
    for refused in (["TOKEN", "hunter2"], ["TOKEN=hunter2"]):
        result = isolet.run("secrets", "set", *refused, "--function", "keeper")
        assert (result.code, "hunter2" in result.err + result.text) == (2, False)
    assert isolet.run("secrets", "set", "TOKEN", "--function", "keeper", given=b"\xff").code == 2
    isolet("secrets", "delete", "TOKEN", "--function", "keeper")
    assert [one["name"] for one in isolet("secrets", "list", "--function", "keeper", "--json").json] == ["PEM"]


def test_values_of_any_bytes_go_in_and_out(isolet: Isolet, tmp_path: Path) -> None:
    file = tmp_path / "value"
    file.write_bytes(b"\0\xff\n")
    isolet("kv", "put", "a/b c", "ü", "--metadata", '{"a": 1}')
    isolet("kv", "put", "bytes", "--file", str(file), "--ttl", "3600")
    isolet("kv", "put", "line\nbreak", given=b"from standard input\n")
    assert isolet("kv", "get", "a/b c").out == "ü".encode()
    assert isolet("kv", "get", "bytes").out == b"\0\xff\n"
    isolet("kv", "get", "bytes", "-o", str(file))
    assert isolet("kv", "get", "bytes", "--json").json["encoding"] == "base64"
    assert isolet("kv", "list").text.splitlines()[0] == 'a/b c\t-\t{"a": 1}'
    assert len(isolet("kv", "list", "li").text.splitlines()) == 1
    for key in ("a/b c", "bytes", "line\nbreak"):
        isolet("kv", "delete", key)
    assert isolet("kv", "list", "--json").json == []
    missing = isolet.run("kv", "get", "a")
    assert (missing.code, "isolet kv list" in missing.err) == (4, True)


def test_a_list_that_is_longer_than_a_page_is_whole(isolet: Isolet, own_project: Project) -> None:
    code = """export default async (_, env) => {
      for (let i = 0; i < 450; i++) await env.KV.put('k' + i, '');
      return new Response();
    }"""
    deployed(own_project, "filler", code)
    isolet("invoke", "filler")
    assert len(isolet("kv", "list", "k", "--all", "--json").json) == 450
    assert len(isolet("kv", "list", "k", "--limit", "300", "--json").json) == 300


def test_rows_are_printed_and_parameters_are_json_or_text(isolet: Isolet) -> None:
    isolet("db", "execute", "CREATE TABLE notes (id INTEGER, text TEXT); INSERT INTO notes VALUES (1, 'a\n\x1b[2J')")
    done = isolet("db", "execute", "INSERT INTO notes VALUES (?, ?)", "-p", "2", "-p", "zwei", "--json").json
    assert done["changes"] == 1
    assert isolet("db", "query", "SELECT * FROM notes ORDER BY id").text == "1\ta\\n\\u001b[2J\n2\tzwei\n"
    assert isolet("db", "query", "-", "--json", given="SELECT id, text FROM notes WHERE id = 2").json == [
        {"id": 2, "text": "zwei"}
    ]
    assert isolet("db", "tables", "--json").json == [{"name": "notes", "rows": 2}]
    failed = isolet.run("db", "query", "SELECT * FROM nothing")
    assert (failed.code, "nothing" in failed.err) == (1, True)


def test_migrations_are_applied_once_and_a_failed_one_leaves_nothing(isolet: Isolet, tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_it's.sql").write_text("CREATE TABLE m (a); -- no semicolon behind a comment")
    (folder / "0002_rows.sql").write_text("INSERT INTO m VALUES (';'), ('x')")
    database = ("--database", "migrated")
    assert isolet("db", "migrate", str(folder), *database, "--dry-run").text.startswith("Would apply 0001_it's.sql")
    applied = isolet("db", "migrate", str(folder), *database, "--json").json["applied"]
    assert applied == ["0001_it's.sql", "0002_rows.sql"]
    assert isolet("db", "migrate", str(folder), *database).text == "Everything is applied.\n"
    (folder / "0003_bad.sql").write_text("INSERT INTO m VALUES ('y'); INSERT INTO nothing VALUES (1)")
    assert isolet.run("db", "migrate", str(folder), *database).code == 1
    assert isolet("db", "query", "SELECT count(*) AS n FROM m", *database, "--json").json == [{"n": 2}]
    rows = isolet("db", "query", "SELECT id, name FROM d1_migrations", *database, "--json").json
    assert rows == [{"id": 1, "name": "0001_it's.sql"}, {"id": 2, "name": "0002_rows.sql"}]
    assert isolet.run("db", "migrate", str(tmp_path / "none")).code == 2
    assert isolet.run("db", "migrate", str(folder), "--table", 'x"; DROP TABLE m; --').code == 2


def test_a_database_goes_out_and_in(isolet: Isolet, tmp_path: Path) -> None:
    isolet("db", "execute", "CREATE TABLE kept (a); INSERT INTO kept VALUES ('ü')", "--database", "first")
    file = tmp_path / "out.sql"
    isolet("db", "export", str(file), "--database", "first")
    assert isolet("db", "export", "--database", "first").out == file.read_bytes()
    isolet("db", "import", str(file), "--database", "second")
    isolet("db", "import", "-", "--replace", "--database", "second", given=file.read_bytes())
    assert isolet("db", "query", "SELECT a FROM kept", "--database", "second", "--json").json == [{"a": "ü"}]


def test_keys_are_made_shown_once_and_deleted_by_name(isolet: Isolet, own_project: Project) -> None:
    key = isolet("keys", "create", "ci\n", "--role", "deploy", "--expires-at", "2099-01-31T12:00:00Z").text.strip()
    reader = Isolet(isolet.folder, ISOLET_URL=own_project.server.url, ISOLET_API_KEY=key)
    assert reader("functions", "list", "--json").json
    listed = isolet("keys", "list")
    assert ("ci\\n\tdeploy" in listed.text, key in listed.text) == (True, False)
    isolet("keys", "delete", "ci\n")
    assert reader.run("functions", "list").code == 5
    assert isolet.run("keys", "create", "x", "--role", "all").code == 2


def test_projects_are_made_changed_and_deleted_with_the_root_key(operator: Isolet, isolet: Isolet) -> None:
    operator("projects", "create", "cli-shop", "--name", "Sh\nop", "--limit", "queued_calls=5")
    assert operator("projects", "get", "cli-shop", "--json").json["limits"]["queued_calls"] == 5
    assert "cli-shop\tSh\\nop\t" in operator("projects", "list", "--all").text
    operator("projects", "update", "cli-shop", "--limit", "queued_calls=", "--origin", "https://a.example")
    changed = operator("projects", "get", "cli-shop", "--json").json
    assert (changed["limits"]["queued_calls"] > 5, changed["allowed_origins"]) == (True, ["https://a.example"])
    assert operator("functions", "list", "--project", "cli-shop", "--json").json == []
    assert isolet.run("projects", "create", "other").code == 5
    operator("projects", "delete", "cli-shop")
    assert operator.run("projects", "get", "cli-shop").code == 4
    assert operator.run("projects", "create", "x", "--limit", "queued_calls=many").code == 2


def test_what_a_project_uses_is_shown(isolet: Isolet, operator: Isolet, own_project: Project) -> None:
    assert [one["project"] for one in isolet("usage", "--json").json] == [own_project.slug]
    assert isolet("usage", "--month", "2020-01").text.split("\t")[:3] == [own_project.slug, "2020-01", "0"]
    assert len(operator("usage", "--json").json) >= 2


def test_schedules_are_made_paused_run_and_deleted(isolet: Isolet, own_project: Project) -> None:
    shown = isolet("schedules", "next", "0 9 * * 1-5", "--tz", "Europe/Berlin", "-n", "2", "--json").json
    assert len(shown["times"]) == 2
    bad = isolet.run("schedules", "next", "0 9 * *")
    assert (bad.code, "cron" in bad.err) == (1, True)
    made = isolet(
        "schedules",
        "create",
        "0 0 1 1 *",
        "--function",
        "hello",
        "--payload",
        '{"a": 1}',
        "--policy",
        "retries=2",
        "--json",
    ).json
    assert (made["payload"], made["retries"]) == ({"a": 1}, 2)
    schedule = made["id"]
    assert schedule in isolet("schedules", "list", "--function", "hello").text
    assert isolet("schedules", "pause", schedule, "--reason", "night", "--json").json["paused_reason"] == "night"
    assert isolet("schedules", "resume", schedule, "--json").json["enabled"] is True
    call = isolet("schedules", "run", schedule).text.strip()
    wait_until(
        lambda: [one["invocation_id"] for one in isolet("schedules", "firings", schedule, "--json").json] == [call]
    )
    ends = ("--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T00:00:00Z")
    assert isolet("schedules", "backfill", schedule, *ends, "--json").json == {"count": 1}
    assert isolet("schedules", "get", schedule, "--json").json["id"] == schedule
    isolet("schedules", "delete", schedule)
    assert isolet("schedules", "list", "--json").json == []


def test_messages_of_a_channel_are_sent_and_followed(isolet: Isolet) -> None:
    data = json.dumps({"text": "\x1b[2J\n\u2028"})
    assert isolet("realtime", "publish", "room", "said", data, "--json").json == {"seq": 1}
    with isolet.begin("realtime", "tail", "room", "--since", "0", "--json") as following:
        assert following.stdout is not None
        guard = threading.Timer(120, following.kill)
        guard.start()
        first = json.loads(following.stdout.readline())
        listed = isolet("realtime", "list", "--json").json
        isolet("realtime", "publish", "room", "again")
        second = json.loads(following.stdout.readline())
        following.kill()
        guard.cancel()
    assert (first["event"], first["data"], second["seq"]) == ("said", {"text": "\x1b[2J\n\u2028"}, 2)
    assert listed == [{"name": "room", "subscribers": 1, "seq": 1}]
    assert isolet.run("realtime", "publish", "room", "said", "{").code == 2


def test_the_lines_of_a_function_are_followed(isolet: Isolet, own_project: Project) -> None:
    stop = threading.Event()

    def call_until_stopped() -> None:
        with httpx.Client(base_url=own_project.server.url, headers=own_project.client.headers, timeout=60) as client:
            while not stop.is_set():
                client.get(f"/f/{own_project.slug}/hello/throw")

    with isolet.begin("logs", "hello", "--follow") as following:
        assert following.stdout is not None
        caller = threading.Thread(target=call_until_stopped)
        caller.start()
        guard = threading.Timer(120, following.kill)
        guard.start()
        lines = [following.stdout.readline() for _ in range(4)]
        stop.set()
        caller.join()
        following.kill()
        guard.cancel()
    printed = "".join(lines)
    assert "info  hello  hello \\u001b]0;title\\u0007\n    of two lines\n" in printed or "Error: broken" in printed
    assert "\x1b" not in printed
