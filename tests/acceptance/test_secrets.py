"""Secrets: the Kapso endpoints on both bases, live changes, encryption at rest, no value where it does not belong."""

import base64
import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.support import starter
from tests.support.kapso import Kapso, SharedKapso
from tests.support.projects import Project, new_project
from tests.support.server import ROOT_KEY, Server
from tests.support.waiting import wait_until

SHOW = """
async function handler(request, env) {
  const { names } = await request.json();
  const shown = (value) => (value === undefined ? "undefined" : value);
  return Response.json(Object.fromEntries(names.map((name) => [name, shown(env[name])])));
}
"""


class Secrets:
    """The secrets of one function, on one base."""

    def __init__(self, kapso: Kapso, function_id: str) -> None:
        self.kapso = kapso
        self.function_id = function_id
        self.path = f"{kapso.base}/functions/{function_id}/secrets"

    def create(self, name: object, value: object) -> httpx.Response:
        return self.kapso.client.post(self.path, json={"secret": {"name": name, "value": value}})

    def delete(self, name: str) -> httpx.Response:
        return self.kapso.client.delete(f"{self.path}/{name}")

    def list(self) -> Any:
        reply = self.kapso.client.get(self.path)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def seen(self, *names: str) -> Any:
        """What the function finds in `env`."""
        reply = self.kapso.invoke(self.function_id, {"names": names})
        assert reply.status_code == 200, reply.text
        return reply.json()


def _sql(data: Path, statement: str) -> None:
    """What only another program does to the server's database."""
    with contextlib.closing(sqlite3.connect(data / "isolet.db", timeout=10)) as database, database:
        database.execute(statement)


def told(reply: httpx.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["error"]


@pytest.fixture
def home(server: Server, root: httpx.Client) -> Iterator[Project]:
    with new_project(server, root) as project:
        yield project


@pytest.fixture(params=["/platform/v1", "/api/v1"])
def both(request: pytest.FixtureRequest, home: Project) -> Kapso:
    """The Kapso API on each of its bases in turn."""
    return Kapso(home.client, request.param)


@pytest.fixture(scope="module")
def secrets_of_all(common: SharedKapso) -> Secrets:
    return Secrets(common, common.deployed(SHOW))


@pytest.fixture
def secrets(secrets_of_all: Secrets) -> Iterator[Secrets]:
    """Of a deployed function that has none, on each base in turn. What a test adds leaves with it."""
    yield secrets_of_all
    for item in secrets_of_all.list()["data"]:
        assert secrets_of_all.delete(item["name"]).status_code == 204


# The endpoints.


def test_a_secret_is_created_seen_by_the_next_call_and_listed_without_its_value(secrets: Secrets) -> None:
    assert secrets.seen("API_KEY") == {"API_KEY": "undefined"}
    reply = secrets.create("API_KEY", "s3cret-text")
    assert (reply.status_code, reply.json()) == (201, {"message": "Secret created successfully"})
    assert secrets.seen("API_KEY") == {"API_KEY": "s3cret-text"}
    assert secrets.list() == {"data": [{"name": "API_KEY", "type": "text"}]}


def test_objects_and_arrays_arrive_parsed_and_text_stays_text(secrets: Secrets) -> None:
    values = {
        "OBJECT": {"user": "Zoë", "deep": [1, 2.5, None, True, {"x": ""}]},
        "LIST": ["a", {"b": []}],
        "JSON_TEXT": '{"a": 1}',
        "LINES": 'two\nlines "quoted" \\ ☃',
        "EMPTY": "",
        "LARGE": "x" * 65_536,
    }
    for name, value in values.items():
        assert secrets.create(name, value).status_code == 201
    assert secrets.seen(*values) == values
    types = {item["name"]: item["type"] for item in secrets.list()["data"]}
    assert types == {name: "json" if name in ("OBJECT", "LIST") else "text" for name in values}


def test_the_list_is_by_name_and_empty_while_nothing_is_deployed(secrets: Secrets) -> None:
    for name in ("B", "A", "C_2"):
        secrets.create(name, "value")
    assert [item["name"] for item in secrets.list()["data"]] == ["A", "B", "C_2"]
    draft = Secrets(secrets.kapso, secrets.kapso.create(SHOW, "Draft")["id"])
    assert draft.list() == {"data": []}


def test_a_function_that_is_not_deployed_takes_no_secrets(both: Kapso) -> None:
    draft = Secrets(both, both.create(SHOW)["id"])
    assert told(draft.create("API_KEY", "v")) == (422, "Function must be deployed before creating secrets")
    assert told(draft.delete("API_KEY")) == (422, "Function must be deployed to manage secrets")


@pytest.mark.parametrize("name", ["lower", "API-KEY", "A B", "", "É", None, 7])
def test_a_name_that_is_not_upper_case_is_refused(secrets: Secrets, name: object) -> None:
    assert told(secrets.create(name, "v")) == (422, "Secret name must be uppercase alphanumeric with underscores")
    assert secrets.list() == {"data": []}


@pytest.mark.parametrize("name", ["KV", "DB"])
def test_a_secret_cannot_take_the_place_of_a_binding(common: SharedKapso, name: str) -> None:
    secrets = Secrets(
        common,
        common.deployed(
            "async function handler(r, env) { return Response.json(typeof env.KV.get + typeof env.DB.prepare) }"
        ),
    )
    status, message = told(secrets.create(name, "v"))
    assert status == 422
    assert name in message
    assert common.invoke(secrets.function_id, {}).json() == "functionfunction"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1, "Secret value must be a string, an object or an array"),
        (None, "Secret value must be a string, an object or an array"),
        ("x" * 65_537, "Secret value is too large (maximum is 65536 bytes)"),
        ("a\x00b", "Secret value holds characters that cannot be stored"),
    ],
)
def test_a_value_that_cannot_be_one_is_refused(secrets: Secrets, value: object, message: str) -> None:
    assert told(secrets.create("API_KEY", value)) == (422, message)


def test_a_secret_that_is_sent_again_is_replaced(secrets: Secrets) -> None:
    secrets.create("API_KEY", "first")
    assert secrets.create("API_KEY", {"second": True}).status_code == 201
    assert secrets.seen("API_KEY") == {"API_KEY": {"second": True}}
    assert secrets.list() == {"data": [{"name": "API_KEY", "type": "json"}]}
    assert secrets.create("API_KEY", 7).status_code == 422
    assert secrets.seen("API_KEY") == {"API_KEY": {"second": True}}


def test_a_deleted_secret_is_undefined_at_once_and_can_be_made_anew(secrets: Secrets) -> None:
    secrets.create("API_KEY", "first")
    secrets.create("OTHER", "other")
    assert secrets.seen("API_KEY") == {"API_KEY": "first"}
    reply = secrets.delete("API_KEY")
    assert (reply.status_code, reply.content) == (204, b"")
    assert secrets.seen("API_KEY", "OTHER") == {"API_KEY": "undefined", "OTHER": "other"}
    assert told(secrets.delete("API_KEY")) == (404, "Secret not found")
    assert secrets.create("API_KEY", "second").status_code == 201
    assert secrets.seen("API_KEY") == {"API_KEY": "second"}


def test_secrets_want_a_key_and_a_function_of_its_project(
    server: Server, root: httpx.Client, common_home: Project, secrets: Secrets
) -> None:
    secrets.create("API_KEY", "s3cret-text")
    requests = [("GET", ""), ("POST", ""), ("DELETE", "/API_KEY")]
    body = {"secret": {"name": "NEW", "value": "v"}}
    with (
        new_project(server, root) as stranger,
        server.client("") as nobody,
        server.client(common_home.key("invoke")) as caller,
    ):
        for client, status in ((stranger.client, 404), (nobody, 401), (caller, 403)):
            for method, path in requests:
                reply = client.request(method, secrets.path + path, json=body)
                assert (reply.status_code, list(reply.json())) == (status, ["error"])
    assert secrets.list() == {"data": [{"name": "API_KEY", "type": "text"}]}


def test_a_body_that_names_no_secret_is_refused(secrets: Secrets) -> None:
    for body in ({}, {"secret": None}, {"secret": []}, [], {"name": "A", "value": "v"}):
        assert secrets.kapso.client.post(secrets.path, json=body).status_code in (400, 422)
    assert secrets.kapso.client.post(secrets.path, content=b"{").status_code == 400
    assert secrets.list() == {"data": []}


# Their life.


def test_a_store_in_trouble_is_told_and_leaves_nothing_half_written(data: Path, sealed: tuple[Path, str]) -> None:
    with Server(data) as server, server.client() as client:
        secrets = Secrets(Kapso(client), sealed[1])
        _sql(data, "ALTER TABLE secrets RENAME TO elsewhere")
        listed = client.get(secrets.path)
        replies = [told(reply) for reply in (listed, secrets.create("TOKEN", "s3cret-more"), secrets.delete("API_KEY"))]
        assert replies == [
            (502, "Failed to retrieve secrets"),
            (502, "Failed to create secret"),
            (502, "Failed to delete secret"),
        ]
        assert "no such table" in server.log
        assert "s3cret" not in server.log
        _sql(data, "ALTER TABLE elsewhere RENAME TO secrets")
        assert secrets.list() == {"data": [{"name": "API_KEY", "type": "text"}]}
        assert secrets.seen("API_KEY", "TOKEN") == {"API_KEY": "s3cret-text", "TOKEN": "undefined"}
        assert secrets.create("TOKEN", "s3cret-more").status_code == 201
        assert secrets.seen("TOKEN") == {"TOKEN": "s3cret-more"}


def test_running_calls_finish_on_the_old_value_while_new_ones_see_the_new(home: Project) -> None:
    kapso = Kapso(home.client)
    code = """
    async function handler(request, env) {
      const { wait } = await request.json();
      await env.KV.put("began-" + env.VALUE, "1");
      while (wait && !(await env.KV.get("go-on"))) await new Promise((done) => setTimeout(done, 20));
      return Response.json(env.VALUE);
    }
    """
    secrets = Secrets(kapso, kapso.deployed(code))
    secrets.create("VALUE", "old-value")
    answers: list[Any] = []
    caller = threading.Thread(target=lambda: answers.append(kapso.invoke(secrets.function_id, {"wait": True}).json()))
    caller.start()
    kv = f"/isolet/v1/projects/{home.slug}/kv"
    wait_until(lambda: home.client.get(f"{kv}/began-old-value").status_code == 200, what="the first call's beginning")
    secrets.delete("VALUE")
    secrets.create("VALUE", "new-value")
    assert kapso.invoke(secrets.function_id, {}).json() == "new-value"
    assert answers == []
    home.client.put(f"{kv}/go-on", content=b"1")
    caller.join()
    assert answers == ["old-value"]


def test_secrets_survive_a_redeploy_and_are_there_while_the_code_loads(home: Project) -> None:
    kapso = Kapso(home.client)
    secrets = Secrets(kapso, kapso.deployed(SHOW))
    secrets.create("API_KEY", "s3cret-text")
    code = 'import { env as atLoad } from "cloudflare:workers"; const early = atLoad.API_KEY;\n'
    code += "export default { fetch: (request, env) => Response.json([early, env.API_KEY]) };"
    update = kapso.client.patch(f"{kapso.base}/functions/{secrets.function_id}", json={"function": {"code": code}})
    assert update.status_code == 200, update.text
    assert kapso.deploy(secrets.function_id)["status"] == "deployed"
    assert kapso.invoke(secrets.function_id, {}).json() == ["s3cret-text", "s3cret-text"]
    assert secrets.list() == {"data": [{"name": "API_KEY", "type": "text"}]}


def test_secrets_leave_with_their_function(home: Project) -> None:
    kapso = Kapso(home.client)
    secrets = Secrets(kapso, kapso.deployed(SHOW, slug="again"))
    secrets.create("API_KEY", "s3cret-text")
    database = home.server.data_dir / "isolet.db"
    assert _sealed(database, secrets.function_id) == 1
    assert kapso.client.delete(f"{kapso.base}/functions/{secrets.function_id}").status_code == 204
    assert _sealed(database, secrets.function_id) == 0
    again = Secrets(kapso, kapso.deployed(SHOW, slug="again"))
    assert again.list() == {"data": []}
    assert again.seen("API_KEY") == {"API_KEY": "undefined"}


def _sealed(database: Path, function_id: str) -> int:
    """How many secrets of a function are on disk."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM secrets WHERE function_id = ?", [function_id]).fetchone()
    return int(count)


def test_secrets_of_one_function_are_not_its_neighbours(home: Project) -> None:
    kapso = Kapso(home.client)
    first, second = (Secrets(kapso, kapso.deployed(SHOW, name)) for name in ("First", "Second"))
    first.create("API_KEY", "s3cret-text")
    assert second.seen("API_KEY") == {"API_KEY": "undefined"}
    assert second.create("API_KEY", "another").status_code == 201
    assert first.seen("API_KEY") == {"API_KEY": "s3cret-text"}


def test_a_sealed_value_put_in_anothers_place_does_not_open(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server, server.client() as client:
        kapso = Kapso(client)
        secrets = Secrets(kapso, kapso.deployed(SHOW))
        secrets.create("MINE", "s3cret-mine")
        secrets.create("THEIRS", "s3cret-theirs")
    with contextlib.closing(sqlite3.connect(tmp_path / "data/isolet.db")) as connection, connection:
        connection.execute("UPDATE secrets SET sealed = (SELECT sealed FROM secrets WHERE name = 'THEIRS')")
    with Server(tmp_path / "data") as server, server.client() as client:
        reply = Kapso(client).invoke(secrets.function_id, {"names": ["MINE"]})
        assert reply.status_code == 500
        assert "s3cret" not in reply.text


# No value where it does not belong.


def test_no_value_is_in_any_log_reply_process_or_file(tmp_path: Path) -> None:
    """The function does all it can to spill its secrets; only its own replies may hold them."""
    text = f's3cret-{uuid.uuid4()}-"quoted"\\\n☃'
    inner = f"s3cret-{uuid.uuid4()}"
    key = base64.b64encode(os.urandom(32)).decode()
    code = """
    async function handler(request, env) {
      const { how } = await request.json();
      console.log("log", env.TEXT, { inside: env.JSON });
      console.error(new Error("printed " + env.TEXT));
      console.log(env.TEXT.repeat(400));
      if (how === "throw") throw new Error("thrown " + env.TEXT + JSON.stringify(env.JSON));
      if (how === "throw-much") throw new Error(env.TEXT.repeat(300));
      if (how === "throw-value") throw env.TEXT;
      if (how === "return-nothing") return env.TEXT;
      if (how === "late") await new Promise((done) => setTimeout(done, 60000));
      if (how === "much") return new Response(env.TEXT.repeat(2000));
      if (how === "json") return Response.json({ all: [env.TEXT, env.JSON] }, { status: 502 });
      if (how === "never") return new Promise(() => {});
      if (how === "cut") return new Response(new ReadableStream({
        async start(c) {
          c.enqueue(new TextEncoder().encode(env.TEXT.slice(0, 30)));
          await new Promise((done) => setTimeout(done, 100));
          c.error(new Error(env.TEXT));
        },
      }));
      return new Response(env.TEXT, { headers: { "x-secret": env.JSON.inner } });
    }
    """
    broken = 'import { env } from "cloudflare:workers"; throw new Error("at load " + env.TEXT);' + code
    told: list[str] = []
    with Server(tmp_path / "data", master_key=key, log_level="debug") as server, server.client() as client:
        kapso = Kapso(client)
        secrets = Secrets(kapso, kapso.deployed(code, runtime_config={"timeout": 1}))
        told += [secrets.create("TEXT", text).text, secrets.create("JSON", {"inner": inner}).text]
        told += [secrets.create("TEXT", text).text, secrets.create("lower", text).text, secrets.create("KV", text).text]
        ways = [
            "plain",
            "throw",
            "throw-much",
            "throw-value",
            "return-nothing",
            "much",
            "json",
            "never",
            "late",
            "plain",
        ]
        for how in ways:
            reply = kapso.invoke(secrets.function_id, {"how": how, "echo": text})
            if reply.status_code == 500:
                told.append(reply.text)
        with contextlib.suppress(httpx.HTTPError):
            kapso.invoke(secrets.function_id, {"how": "cut"})
        processes = [server.process.pid, *(child.pid for child in server.children())]
        # The server, a sandbox and what runs in it.
        assert len(processes) >= 3
        for pid in processes:
            told += [
                Path(f"/proc/{pid}/{file}").read_bytes().decode(errors="replace") for file in ("cmdline", "environ")
            ]
        kapso.client.patch(f"{kapso.base}/functions/{secrets.function_id}", json={"function": {"code": broken}})
        failed = kapso.deploy(secrets.function_id)
        assert failed["status"] == "error"
        assert "at load [redacted]" in failed["deploy_error"]["message"]
        calls = len(ways) + 1
        wait_until(lambda: len(kapso.invocations(secrets.function_id, limit=20)) == calls, what="the records")
        for path in ("", "/secrets", "/invocations?limit=20"):
            told.append(client.get(f"{kapso.base}/functions/{secrets.function_id}{path}").text)
        told.append(client.get(f"/isolet/v1/functions/{secrets.function_id}").text)
        told.append(client.get(f"/isolet/v1/functions/{secrets.function_id}/versions").text)
        assert "[redacted]" in "".join(told), "what was printed is recorded, without the value"
        _check_files(tmp_path, text, inner)
    told.append(server.output)
    _check_files(tmp_path, text, inner)
    for place in told:
        assert not _spilled(place.encode(), text, inner), place[:2000]


def _forms(*values: str) -> list[bytes]:
    """The values as they might stand somewhere, and the first half of each."""
    found = []
    for value in values:
        raw = value.encode()
        found += [raw, json.dumps(value)[1:-1].encode(), json.dumps(value, ensure_ascii=False)[1:-1].encode()]
        found += [raw[:20], base64.b64encode(raw)[:20], raw.hex().encode()[:40]]
    return found


def _spilled(data: bytes, *values: str) -> list[bytes]:
    return [form for form in _forms(*values) if form in data]


def _check_files(folder: Path, *values: str) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"isolet.db", "data.log"} <= {path.name for path in files}
    for path in files:
        assert not _spilled(path.read_bytes(), *values), path


# The master key.


def _start(data_dir: Path, **settings: object) -> str:
    """What a server says that does not start."""
    server = Server(data_dir, **settings)
    try:
        assert server.wait(60) == 1
        return server.log
    finally:
        if server.process.poll() is None:
            server.kill()


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A data directory with a secret in it, sealed with the key of its file, and the function that shows it."""
    data = tmp_path_factory.mktemp("sealed") / "data"
    with Server(data) as server, server.client() as client:
        kapso = Kapso(client)
        secrets = Secrets(kapso, kapso.deployed(SHOW))
        assert secrets.create("API_KEY", "s3cret-text").status_code == 201
    return data, secrets.function_id


@pytest.fixture
def data(sealed: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of that directory."""
    return Path(shutil.copytree(sealed[0], tmp_path / "data"))


def _opens(data: Path, function_id: str, **settings: object) -> None:
    with Server(data, **settings) as server, server.client() as client:
        assert Secrets(Kapso(client), function_id).seen("API_KEY") == {"API_KEY": "s3cret-text"}


def test_a_master_key_that_is_none_stops_the_start(tmp_path: Path) -> None:
    key = "not base64 at all!"
    log = _start(tmp_path / "data", master_key=key)
    assert "cannot read ISOLET_MASTER_KEY: a master key is 32 bytes in base64" in log
    assert "Traceback" not in log
    assert key not in log


def test_a_wrong_master_key_stops_the_start_and_the_right_one_starts_it(data: Path, sealed: tuple[Path, str]) -> None:
    right = (data / "master-key").read_text().strip()
    wrong = base64.b64encode(bytes(32)).decode()
    log = _start(data, master_key=wrong)
    assert "cannot open the secrets: they are sealed with master key" in log
    assert "Set ISOLET_MASTER_KEY to the key they were sealed with" in log
    assert "Traceback" not in log
    assert wrong not in log
    (data / "master-key").unlink()
    _opens(data, sealed[1], master_key=right)


def test_secrets_survive_a_restart(data: Path, sealed: tuple[Path, str]) -> None:
    _opens(data, sealed[1])
    _opens(data, sealed[1])


def _rotate(server: Server, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ISOLET_")}
    return subprocess.run(
        [starter.command(server.data_dir.with_name("isolet")), "secrets", "rotate-master-key", "--url", server.url],
        env={**environment, "ISOLET_API_KEY": ROOT_KEY, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("given", [False, True], ids=["file", "variable"])
def test_rotation_under_load_loses_no_call_and_holds_after_a_restart(
    data: Path, sealed: tuple[Path, str], given: bool
) -> None:
    old = (data / "master-key").read_text().strip()
    new = base64.b64encode(os.urandom(32)).decode()
    variables = {"ISOLET_NEW_MASTER_KEY": new} if given else {}
    settings = {"master_key": old} if given else {}
    if given:
        (data / "master-key").unlink()
    answers: list[Any] = []
    stop = threading.Event()
    with Server(data, **settings) as server, server.client() as client:
        secrets = Secrets(Kapso(client), sealed[1])

        def load() -> None:
            while not stop.is_set():
                answers.append(secrets.seen("API_KEY"))

        caller = threading.Thread(target=load)
        caller.start()
        try:
            wait_until(lambda: len(answers) > 5, what="calls")
            done = _rotate(server, **variables)
            assert done.returncode == 0, done.stderr
            assert "it wraps the keys of 1 projects" in done.stdout
            assert secrets.create("LATER", "made-after").status_code == 201
            after = len(answers)
            wait_until(lambda: len(answers) > after + 5, what="calls after the rotation")
        finally:
            stop.set()
            caller.join()
        assert [answer for answer in answers if answer != {"API_KEY": "s3cret-text"}] == []
        assert new not in done.stdout + done.stderr + server.log
    assert not (data / "master-key.next").exists()
    if given:
        assert "cannot open the secrets" in _start(data, master_key=old)
        settings = {"master_key": new}
    else:
        assert (data / "master-key").read_text().strip() != old
    with Server(data, **settings) as server, server.client() as client:
        seen = Secrets(Kapso(client), sealed[1]).seen("API_KEY", "LATER")
        assert seen == {"API_KEY": "s3cret-text", "LATER": "made-after"}


def test_rotation_is_refused_without_a_key_that_the_operator_knows(data: Path) -> None:
    old = (data / "master-key").read_text().strip()
    with Server(data, master_key=old) as server:
        done = _rotate(server)
        assert done.returncode == 1
        assert "the master key comes from ISOLET_MASTER_KEY: send the new key" in done.stderr
        done = _rotate(server, ISOLET_NEW_MASTER_KEY="short")
        assert done.returncode == 1
        assert "cannot read the new master key: a master key is 32 bytes in base64" in done.stderr
        assert "Traceback" not in done.stderr


def test_rotations_at_once_leave_a_key_that_opens(data: Path, sealed: tuple[Path, str]) -> None:
    with Server(data) as server:
        replies: list[int] = []

        def rotate() -> None:
            with server.client() as client:
                replies.append(client.post("/isolet/v1/master-key/rotate", json={}).status_code)

        callers = [threading.Thread(target=rotate) for _ in range(6)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert replies == [200] * 6
        assert not (data / "master-key.next").exists()
    _opens(data, sealed[1])


def test_rotation_wants_the_root_key(home: Project) -> None:
    assert home.client.post("/isolet/v1/master-key/rotate", json={}).status_code == 403


def test_a_server_killed_while_it_rotates_starts_again(data: Path, sealed: tuple[Path, str]) -> None:
    for _ in range(2):
        with Server(data) as server, server.client() as client:
            posts = [0]

            def rotate(client: httpx.Client = client, posts: list[int] = posts) -> None:
                with contextlib.suppress(httpx.HTTPError):
                    while True:
                        assert client.post("/isolet/v1/master-key/rotate", json={}).status_code == 200
                        posts[0] += 1

            caller = threading.Thread(target=rotate)
            caller.start()
            wait_until(lambda posts=posts: posts[0] >= 3, what="rotations")
            children = server.children()
            server.kill()
            caller.join()
            psutil.wait_procs(children, timeout=60)
    _opens(data, sealed[1])
