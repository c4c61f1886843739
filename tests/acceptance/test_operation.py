"""What an operator meets: starting, being told, being refused, and stopping."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import resource
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from typer.testing import CliRunner

from isolet.cli.main import app
from isolet.database import projects as stored_projects
from isolet.database.connection import Database
from isolet.database.engine import sqlite_url
from isolet.ids import ProjectId
from tests.support.kapso import Kapso
from tests.support.projects import Project
from tests.support.server import ROOT_KEY, Server
from tests.support.waiting import wait_until

IN_TWO_PARTS = """async function handler() {
    const { readable, writable } = new TransformStream();
    (async () => {
        const writer = writable.getWriter();
        await writer.write(new TextEncoder().encode("begun, "));
        await scheduler.wait(1000);
        await writer.write(new TextEncoder().encode("done"));
        await writer.close();
    })();
    return new Response(readable);
}"""
HELLO = 'async function handler() { return new Response("hello"); }'


def run_printed_curl(server: Server, **variables: str) -> str:
    """The output of the curl line that the server printed, run in a shell."""
    (line,) = [line.strip() for line in server.output.splitlines() if line.strip().startswith("curl ")]
    environment = {"PATH": os.environ["PATH"], **variables}
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, env=environment, check=True)
    return done.stdout


def refusal(data_dir: Path, *arguments: str, **settings: Any) -> str:
    """What a server says that does not start."""
    server = Server(data_dir, *arguments, **settings)
    assert server.wait(60) == 1, server.log
    assert "Traceback" not in server.log
    (said,) = [line for line in server.log.splitlines() if line.startswith("isolet: ")]
    return said


@pytest.mark.parametrize("folder", ["data", "data of a person's own"])
def test_the_first_start_prints_a_key_and_a_line_that_works_and_the_second_no_key(tmp_path: Path, folder: str) -> None:
    data_dir, by_command = tmp_path / folder, folder == "data"
    with Server(data_dir, "--example", root_key=None, forked=not by_command) as first:
        key = re.search(r"API key: (isk_\S+)", first.output)
        assert key is not None
        assert "Hello, world!" in run_printed_curl(first)
        assert stat.S_IMODE((data_dir / "root-key").stat().st_mode) == 0o600
        assert (data_dir / "root-key").read_text().strip() == key[1]

    with Server(data_dir, "--example", root_key=None) as second:
        assert key[1] not in second.output + second.log
        assert f"API key: in {data_dir / 'root-key'}" in second.output
        assert "Hello, world!" in run_printed_curl(second)
        with second.client(key[1]) as client:
            assert len(client.get("/platform/v1/functions").json()["data"]) == 1


def test_a_root_key_given_by_variable_is_never_printed(tmp_path: Path) -> None:
    with Server(tmp_path / "data", "--example") as server:
        assert "Hello, world!" in run_printed_curl(server, ISOLET_API_KEY=ROOT_KEY)

    assert ROOT_KEY not in server.output + server.log
    assert not (tmp_path / "data" / "root-key").exists()


def test_the_public_address_is_shown_when_it_is_set(tmp_path: Path) -> None:
    with Server(tmp_path / "data", "--example", public_url="https://functions.example/") as server:
        assert "Isolet is ready at https://functions.example\n" in server.output
        assert "curl -X POST https://functions.example/platform/v1/functions/" in server.output


def test_what_a_server_writes_is_its_users_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    (data / "isolet.db").touch(mode=0o644)
    with Server(data, "--example") as server, server.client() as client:
        client.put("/isolet/v1/projects/default/kv/key", content=b"v").raise_for_status()
        open_to_others = [str(path) for path in data.rglob("*") if path.lstat().st_mode & 0o077]
        databases = {path.name for path in data.rglob("*.sqlite")} | {path.name for path in data.glob("*.db")}

    assert open_to_others == []
    assert {"isolet.db", "metadata.sqlite"} <= databases


def test_no_part_of_its_memory_goes_to_a_file_when_it_dies(server: Server) -> None:
    assert resource.prlimit(server.process.pid, resource.RLIMIT_CORE) == (0, 0)


def test_two_servers_on_one_data_directory_are_refused(server: Server) -> None:
    said = refusal(server.data_dir)

    assert f"cannot use {server.data_dir}: another Isolet server runs on it" in said
    assert httpx.get(f"{server.url}/healthz").status_code == 200


def test_a_taken_port_is_refused(server: Server, tmp_path: Path) -> None:
    port = server.url.rpartition(":")[2]

    said = refusal(tmp_path / "data", "--port", port)

    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in said


def test_an_address_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    assert "cannot listen on 192.0.2.1:0: " in refusal(tmp_path / "data", "--host", "192.0.2.1")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "http"),
        ("port", "-1"),
        ("port", "65536"),
        ("max_body_mb", "0"),
        ("max_body_mb", "1.5"),
        ("idle_timeout_s", "soon"),
        ("idle_timeout_s", "nan"),
        ("idle_timeout_s", "0"),
        ("drain_timeout_s", "-1"),
        ("sandbox", "maybe"),
        ("log_format", "xml"),
        ("metrics_public", "perhaps"),
        ("egress_allow", "10.0.0.0/33"),
        ("egress_allow", "example.com"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_name(tmp_path: Path, name: str, value: str) -> None:
    """In this process: the settings are read before anything starts."""
    flag, variable = f"--{name.replace('_', '-')}", f"ISOLET_{name.upper()}"
    serve = ["serve", "--data-dir", str(tmp_path / "data")]

    by_flag = CliRunner().invoke(app, [*serve, flag, value], env={})
    by_variable = CliRunner().invoke(app, serve, env={variable: value})

    # What is checked for its sense, not its form, is told by its variable alone.
    for done, names in ((by_flag, {flag, variable}), (by_variable, {variable})):
        assert done.exit_code == 1, done.output
        assert done.stderr.startswith("isolet: ")
        assert any(name in done.stderr for name in names)
        assert value in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(("name", "value"), [("port", "http"), ("sandbox", "maybe")])
def test_a_server_whose_setting_makes_no_sense_does_not_start(tmp_path: Path, name: str, value: str) -> None:
    if name == "port":
        assert "--port" in refusal(tmp_path / "data", "--port", value)
    else:
        assert f"ISOLET_{name.upper()}" in refusal(tmp_path / "data", **{name: value})


def test_a_program_that_is_no_workerd_is_refused(tmp_path: Path) -> None:
    assert "cannot start the egress process: it ended" in refusal(tmp_path / "data", "--workerd", "/bin/true")


def test_a_root_key_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data" / "root-key"
    path.mkdir(parents=True)

    assert refusal(tmp_path / "data", root_key=None) == f"isolet: cannot use {path}: Is a directory"


def test_a_data_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    said = refusal(tmp_path / "data", "--data-dir", str(tmp_path / "file" / "data"))

    assert f"cannot use {tmp_path / 'file' / 'data'} as data directory" in said


def test_an_unknown_flag_is_refused(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", "--colour", "red", forked=False)

    assert server.wait(60) == 2
    assert "--colour" in server.log


def test_health_and_api_pages_need_no_key(anonymous: httpx.Client) -> None:
    paths = ("/healthz", "/docs", "/openapi.json")
    health, pages, description = (anonymous.get(path, follow_redirects=True) for path in paths)

    assert (health.status_code, health.json()["status"], health.json()["sandbox"]) == (200, "ok", "on")
    monitored = anonymous.head("/healthz")
    assert (monitored.status_code, monitored.content) == (200, b"")
    assert (pages.status_code, pages.headers["content-type"]) == (200, "text/html; charset=utf-8")
    paths = description.json()["paths"]
    assert {"/platform/v1/functions", "/api/v1/functions", "/isolet/v1/functions/{function_id}"} <= paths.keys()


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/platform/v1/functions", "GET, POST"),
        ("/api/v1/functions/some", "DELETE, GET, PATCH, PUT"),
        ("/isolet/v1/projects/default/kv/key", "DELETE, GET, PUT"),
        ("/healthz", "GET, HEAD"),
    ],
)
def test_a_method_that_a_path_does_not_have_is_told_all_that_it_has(
    anonymous: httpx.Client, path: str, methods: str
) -> None:
    reply = anonymous.request("TRACE", path)

    assert (reply.status_code, reply.headers["allow"]) == (405, methods)


def test_every_operation_of_the_description_has_an_id_of_its_own(anonymous: httpx.Client) -> None:
    paths = anonymous.get("/openapi.json").json()["paths"]
    ids = [operation["operationId"] for methods in paths.values() for operation in methods.values()]

    assert [one for one in ids if ids.count(one) > 1] == []


def test_the_description_names_every_way_to_call_a_function(anonymous: httpx.Client) -> None:
    paths = anonymous.get("/openapi.json").json()["paths"]
    every = {"get", "post", "put", "patch", "delete"}

    assert {path: set(paths[path]) for path in paths if path.endswith(("invoke", "/fn/{name}"))} == {
        "/platform/v1/functions/{function_id}/invoke": {"post"},
        "/api/v1/functions/{function_id}/invoke": {"post"},
        "/v1/{app_id}/fn/{name}": every,
        "/v1/{app_id}/functions/{name}/invoke": {"post"},
        "/spaces/{space}/functions/{name}/invoke": every,
        "/spaces/{space}/functions/{name}/async-invoke": {"post"},
    }


_EXAMPLES = """
post /platform/v1/functions/{function_id}/invoke 200
post /api/v1/functions/{function_id}/invoke 200
post /v1/{app_id}/functions 200
post /v1/{app_id}/fn/{name} 200
post /v1/{app_id}/functions/{name}/invoke 200
patch /v1/{app_id}/functions/{name}/env 200
patch /v1/{app_id}/functions/{name}/settings 200
patch /v1/{app_id}/env 200
put /spaces/{space}/functions/{name} 200
patch /spaces/{space}/functions/{name}/invoke 200
post /spaces/{space}/functions/{name}/async-invoke 202
put /isolet/v1/projects/{slug}/kv/{key} 204
post /isolet/v1/projects/{slug}/database/import 200
"""


def test_an_example_of_the_description_is_taken_as_it_is_shown(home: Project) -> None:
    paths = home.client.get("/openapi.json").json()["paths"]
    function_id = Kapso(home.client).deployed(HELLO, "Hello")
    values = {"app_id": home.slug, "space": home.slug, "slug": home.slug, "name": "hello", "key": "a"}

    for method, path, status in (line.split() for line in _EXAMPLES.split("\n") if line):
        operation = paths[path][method]
        ((media_type, shown),) = operation["requestBody"]["content"].items()
        example = shown["example"]
        reply = home.client.request(
            method,
            path.format(function_id=function_id, **values),
            content=example if isinstance(example, str) else json.dumps(example),
            headers={"content-type": media_type},
        )
        assert str(reply.status_code) == status, (path, reply.text)
        assert status in operation["responses"]


def test_the_address_that_the_start_prints_leads_to_the_api_pages(server: Server, anonymous: httpx.Client) -> None:
    reply = anonymous.get("/", follow_redirects=True)

    assert (reply.status_code, str(reply.url)) == (200, f"{server.pages_url}/docs")


def half_deleted(data: Path, project_id: str) -> None:
    """As by a server that ends as soon as a project is gone from the database."""

    async def delete() -> None:
        database = Database(sqlite_url(data / "isolet.db"))
        await database.open()
        await database.write(stored_projects.delete_project, ProjectId(project_id))
        await database.close()

    asyncio.run(delete())


def left_of(data: Path, project_id: str) -> list[object]:
    """Folders of a project, and rows of what is deleted in steps."""
    with contextlib.closing(sqlite3.connect(data / "isolet.db")) as connection:
        tables = ("leftovers", "function_sources")
        rows = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]  # noqa: S608
    return [*data.rglob(project_id), *rows]


def test_what_was_made_is_there_after_a_restart_and_what_was_half_deleted_is_not(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Server(data) as server, server.client() as root:
        gone = root.post("/isolet/v1/projects", json={"slug": "gone"}).json()["id"]
        root.put("/isolet/v1/projects/gone/kv/key", content=b"v").raise_for_status()
        code = base64.b64encode(HELLO.encode()).decode()
        root.post("/spaces/gone/functions", json={"name": "one", "source": {"code": code}})
        root.post("/isolet/v1/projects", json={"slug": "shop"})
        key = root.post("/isolet/v1/projects/shop/keys", json={"name": "k", "role": "admin"}).json()["key"]
        with server.client(key) as client:
            kapso = Kapso(client)
            function_id = kapso.deployed(HELLO)
            call = kapso.invoke(function_id, {}).headers["x-invocation-id"]
            before = kapso.get(function_id)

    half_deleted(data, gone)
    assert len(left_of(data, gone)) > 2
    with Server(data) as server, server.client(key) as client:
        wait_until(lambda: left_of(data, gone) == [0, 1], what="the end of the deletion")
        assert {**Kapso(client).get(function_id), "endpoint_url": ""} == {**before, "endpoint_url": ""}
        assert Kapso(client).invoke(function_id, {}).text == "hello"
        assert Kapso(client).invocations(function_id)[-1]["id"] == call


def test_a_stop_ends_every_process_and_leaves_no_socket(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server, server.client() as root:
        kapso = Kapso(root)
        for number in range(3):
            kapso.invoke(kapso.deployed(HELLO, name=f"n{number}"), {})
        children = server.children()
        assert len(children) >= 4

        assert server.stop() == 0

    assert [child for child in children if child.is_running()] == []
    assert sockets_below(tmp_path / "data") == []


def test_a_stop_does_not_wait_for_who_follows_a_log(tmp_path: Path) -> None:
    with Server(tmp_path / "data", drain_timeout_s=600) as server, server.client() as root:
        root.post("/v1/default/functions", json={"name": "followed", "code": HELLO})
        native, butterbase = "/isolet/v1/logs/stream", "/v1/default/functions/followed/logs/stream"
        with root.stream("GET", native) as one, root.stream("GET", butterbase) as other:
            streams = [one.iter_lines(), other.iter_lines()]
            assert [next(stream) for stream in streams] == [": connected"] * 2
            server.process.send_signal(signal.SIGTERM)
            assert [[*stream] for stream in streams] == [[""]] * 2
            assert server.wait(60) == 0


def test_an_interrupt_from_the_terminal_lets_running_calls_finish(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server, server.client() as root:
        path = f"/platform/v1/functions/{Kapso(root).deployed(IN_TWO_PARTS)}/invoke"
        with root.stream("POST", path, json={}) as reply:
            parts = reply.iter_text()
            assert next(parts) == "begun, "
            # Ctrl-C goes to every process of the terminal's foreground group.
            group = os.getpgid(server.process.pid)
            for process in (*server.children(), psutil.Process(server.process.pid)):
                if os.getpgid(process.pid) == group:
                    process.send_signal(signal.SIGINT)
            assert "".join(parts) == "done"
        assert server.wait(60) == 0


def test_a_second_interrupt_waits_for_no_call_and_keeps_what_was_accepted(tmp_path: Path) -> None:
    waits = "async function handler() { await scheduler.wait(60_000); return new Response(); }"
    started = Server(tmp_path / "data", drain_timeout_s=600, forked=False)
    with started as server, server.client() as root, ThreadPoolExecutor() as threads:
        kapso = Kapso(root)
        function_id = kapso.deployed(waits, name="waits")
        accepted = root.post("/spaces/default/functions/waits/async-invoke")
        assert accepted.status_code == 202
        call = threads.submit(kapso.invoke, function_id)
        job = f"/isolet/v1/invocations/{accepted.headers['x-invocation-id']}"
        wait_until(lambda: root.get(job).json()["status"] == "running", what="the job")
        for _ in range(2):
            server.process.send_signal(signal.SIGINT)
            # The second is one of its own once the first was heard.
            wait_until(lambda: not listens(server), what="the end of listening")
        assert server.wait(60) == 0
        assert "Traceback" not in server.log
        # Refused when its instance was not there yet.
        assert isinstance(call.exception(60), httpx.TransportError) or call.result().status_code in (500, 503)
    assert sockets_below(tmp_path / "data") == []

    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "isolet.db")) as database:
        assert database.execute("SELECT kind, state FROM jobs").fetchall() == [("call", "queued")]


def listens(server: Server) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", int(server.url.rpartition(":")[2]))) == 0


def test_an_interrupt_before_there_is_anything_to_stop_ends_the_start_quietly(tmp_path: Path) -> None:
    program = f"""
import os, signal, sys
class Interrupt:
    def find_spec(self, name, path, target=None):
        if name == "isolet.observe.counters":
            os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupt())
sys.argv = ["isolet", "serve", "--port", "0", "--data-dir", {str(tmp_path / "data")!r}]
from isolet.cli.main import main
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_an_idle_instance_stops_and_comes_back(tmp_path: Path) -> None:
    with Server(tmp_path / "data", idle_timeout_s=0.2) as server, server.client() as root:
        kapso = Kapso(root)
        others = len(server.children())
        function_id = kapso.deployed("let calls = 0; function handler() { return Response.json(++calls); }")
        assert kapso.invoke(function_id, {}).json() == 1

        wait_until(lambda: len(server.children()) == others, what="the end of the instance")

        assert kapso.invoke(function_id, {}).json() == 1


def sockets_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if stat.S_ISSOCK(path.lstat().st_mode)]


def test_the_server_listens_on_the_loopback_address_by_default(server: Server) -> None:
    port = int(server.url.rpartition(":")[2])

    assert server.url == f"http://127.0.0.1:{port}"
    with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.2", port), timeout=5):
        pass
