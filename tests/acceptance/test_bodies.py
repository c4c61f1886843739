"""Bodies of requests: what they may hold of the server, and who is refused before one is read."""

from __future__ import annotations

import itertools
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.support.altair import Altair
from tests.support.butterbase import Butterbase
from tests.support.kapso import Kapso
from tests.support.projects import Project, new_project
from tests.support.server import Server
from tests.support.waiting import wait_until

MB = 1024 * 1024
_LOOKS_A_REQUEST = 10
# Counts without holding: the length, and the bytes as they came.
COUNTS = """export default { async fetch(request) {
  let size = 0, sum = 0;
  for await (const part of request.body ?? []) {
    size += part.length;
    for (let at = 0; at < part.length; at += 4096) sum = (sum * 31 + part[at]) % 1000003;
  }
  return Response.json({ size, told: request.headers.get("content-length") });
} }"""
READS = "export default { async fetch(request) { return new Response(await request.text()) } }"


def chunks(unit: bytes, before: bytes, after: bytes, size: int) -> Iterator[bytes]:
    """A body of about `size` bytes, a piece at a time."""
    piece = unit * (MB // len(unit))
    yield before
    for _ in range(size // MB):
        yield piece
    yield after


class Watch:
    """The most memory that the server takes, and the longest that `/healthz` takes, while it is open."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._process = psutil.Process(server.process.pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.before = self.most = self._process.memory_info().rss
        self.longest_s = 0.0

    @property
    def grown_mb(self) -> float:
        return (self.most - self.before) / MB

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _look(self) -> None:
        with self._server.client("") as client:
            for look in itertools.count():
                # Asking costs the server more than looking at it does.
                if look % _LOOKS_A_REQUEST == 0:
                    began = time.monotonic()
                    assert client.get("/healthz").status_code == 200
                    self.longest_s = max(self.longest_s, time.monotonic() - began)
                self.most = max(self.most, self._process.memory_info().rss)
                if self._stop.wait(0.01):
                    return


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One whose memory is looked at."""
    with Server(tmp_path_factory.mktemp("bodies") / "data") as server:
        yield server


@pytest.fixture
def project(own_server: Server) -> Iterator[Project]:
    with own_server.client() as root, new_project(own_server, root) as project:
        yield project


@pytest.mark.parametrize(
    ("unit", "before", "after", "size"),
    [
        (b"{},", b"[", b"1]", 24 * MB),
        # As much as a body may have.
        (b"x", b'{"text":"', b'"}', 99 * MB),
        (b"[[[[[[1]]]]]],", b"[", b"1]", 24 * MB),
    ],
    ids=["empty objects", "one string", "nested"],
)
def test_a_large_body_of_nobody_takes_little_memory_and_stops_nobody(
    own_server: Server, project: Project, unit: bytes, before: bytes, after: bytes, size: int
) -> None:
    function_id = Kapso(project.client).deployed(COUNTS, public_endpoint=True)
    # A function reads that much in a second, where nobody else wants the processor.
    assert project.client.patch(f"/isolet/v1/functions/{function_id}", json={"timeout_ms": 240_000}).is_success
    with own_server.client("") as anonymous:
        # What the first large body loads stays.
        path = f"/platform/v1/functions/{function_id}/invoke"
        anonymous.post(path, content=chunks(b"x", b'"', b'"', 2 * MB), timeout=60)
        with Watch(own_server) as watch:
            reply = anonymous.post(path, content=chunks(unit, before, after, size), timeout=300)
    assert reply.status_code == 200, reply.text
    assert reply.json()["size"] > 0.99 * size
    assert reply.json()["told"] == str(reply.json()["size"])
    assert watch.grown_mb < 16
    assert watch.longest_s < 2


@pytest.mark.parametrize(
    "after", [b"1", b"]]", b'"', b"1]\xff"], ids=["open", "one too many", "open string", "no UTF-8"]
)
def test_a_large_body_that_is_no_json_to_its_end_is_400_and_runs_nothing(
    own_server: Server, project: Project, after: bytes
) -> None:
    kapso = Kapso(project.client)
    function_id = kapso.deployed(COUNTS)
    with Watch(own_server) as watch:
        reply = kapso.invoke(function_id, content=chunks(b"{},", b"[", after, 8 * MB), timeout=120)
    assert (reply.status_code, reply.json()) == (400, {"error": "Invalid JSON in request"})
    assert watch.longest_s < 2
    assert kapso.invocations(function_id) == []


def test_a_large_body_arrives_as_it_was_sent_through_every_door(project: Project, own_server: Server) -> None:
    body = b'{"text":"' + bytes(range(48, 58)) * 100_000 + b'"}'
    kapso, altair = Kapso(project.client), Altair(project.client, project.slug)
    function_id = kapso.deployed(READS, name="reads")
    with own_server.client("") as public:
        butterbase = Butterbase(project.client, public)
        butterbase.deploy("echo", READS)
        calls = {
            "kapso": lambda sent: kapso.invoke(function_id, content=sent),
            "altair": lambda sent: altair.invoke("reads", content=sent),
            "butterbase": lambda sent: butterbase.call("echo", "POST", content=sent),
            "test call": lambda sent: project.client.post(f"{butterbase.base}/echo/invoke", content=sent),
        }
        for name, call in calls.items():
            for sent in (body, iter([body[:7], body[7:]])):
                reply = call(sent)
                assert (reply.status_code, reply.content) == (200, body), name
    text = project.client.post(
        f"/v1/{project.slug}/functions/echo/invoke",
        content=("ä\n" * 300_000).encode(),
        headers={"content-type": "text/plain"},
    )
    assert text.json() == "ä\n" * 300_000
    call_id = altair.start("reads", body)
    assert altair.ended(call_id)["status"] == "succeeded"
    result = project.client.get(f"/isolet/v1/invocations/{call_id}/result")
    assert result.status_code in (200, 404)


@contextmanager
def connection(url: str) -> Iterator[socket.socket]:
    address = urlsplit(url)
    assert address.hostname is not None
    with socket.create_connection((address.hostname, address.port or 80), timeout=30) as opened:
        yield opened


def test_those_who_send_most_of_a_body_and_fall_silent_hold_little(own_server: Server, project: Project) -> None:
    function_id = Kapso(project.client).deployed(COUNTS, public_endpoint=True)
    head = (
        f"POST /platform/v1/functions/{function_id}/invoke HTTP/1.1\r\nhost: test\r\ncontent-length: {20 * MB}\r\n\r\n"
    )
    spool = own_server.data_dir / "spool"
    with Watch(own_server) as watch, ExitStack() as stack:
        for _ in range(8):
            opened = stack.enter_context(connection(own_server.url))
            opened.sendall(head.encode() + b'"' + b"x" * 19 * MB)
        assert list(spool.iterdir()) == []
    assert watch.grown_mb < 40
    wait_until(lambda: Kapso(project.client).invoke(function_id, {}).status_code == 200, what="a call")


@pytest.mark.parametrize("framing", ["content-length: 5000000", "transfer-encoding: chunked"])
def test_who_may_not_call_is_answered_before_the_body_is_read(
    server: Server, home: Project, stranger: Project, framing: str
) -> None:
    kapso = Kapso(home.client)
    ready, draft = kapso.deployed(READS, "ready"), kapso.create(READS, "draft")["id"]
    key, foreign = home.client.headers["X-API-Key"], stranger.client.headers["X-API-Key"]
    cases = [
        (404, "POST", f"/platform/v1/functions/{ready[:-4]}0000/invoke", key),
        (404, "POST", f"/platform/v1/functions/{ready}/invoke", foreign),
        (401, "POST", f"/api/v1/functions/{ready}/invoke", "wrong"),
        (422, "POST", f"/platform/v1/functions/{draft}/invoke", key),
        (405, "PUT", f"/platform/v1/functions/{ready}/invoke", key),
        (404, "POST", f"/v1/{home.slug}/fn/none", key),
        (404, "POST", f"/v1/{home.slug}/fn/draft", key),
        (401, "POST", f"/v1/{home.slug}/functions/ready/invoke", "wrong"),
        (404, "POST", f"/v1/{home.slug}/functions/none/invoke", key),
        (404, "PATCH", f"/v1/{home.slug}/functions/none/env", key),
        (401, "POST", f"/v1/{home.slug}/functions", "isk_wrong"),
        (404, "POST", f"/spaces/{home.slug}/functions/none/invoke", key),
        (202, "POST", f"/spaces/{home.slug}/functions/draft/invoke", key),
        (409, "POST", f"/spaces/{home.slug}/functions/draft/async-invoke", key),
        (401, "POST", f"/spaces/{home.slug}/functions/ready/async-invoke", "wrong"),
        (401, "POST", "/platform/v1/functions", "wrong"),
        (404, "PATCH", f"/platform/v1/functions/{ready[:-4]}0000/none", key),
        (401, "PUT", f"/isolet/v1/projects/{home.slug}/kv/name", "wrong"),
        (404, "PUT", f"/isolet/v1/projects/{home.slug}/kv/name", foreign),
        (401, "PATCH", f"/isolet/v1/functions/{ready}", "wrong"),
        (401, "POST", f"/isolet/v1/projects/{home.slug}/database/query", "wrong"),
        (404, "POST", f"/isolet/v1/projects/{home.slug}/database/import", foreign),
        (404, "POST", f"/isolet/v1/projects/{home.slug}/restore", foreign),
    ]
    for status, method, path, sent_key in cases:
        lines = [f"{method} {path} HTTP/1.1", "host: test", f"x-api-key: {sent_key}", "expect: 100-continue", framing]
        with connection(server.url) as opened:
            opened.sendall("\r\n".join([*lines, "", ""]).encode())
            assert opened.recv(65_536).startswith(f"HTTP/1.1 {status} ".encode()), path


def test_a_body_that_says_it_is_too_large_is_refused_at_once(server: Server, home: Project) -> None:
    ready = Kapso(home.client).deployed(READS, "ready")
    key = home.client.headers["X-API-Key"]
    for method, path, size in [
        ("POST", f"/platform/v1/functions/{ready}/invoke", 101 * MB),
        ("POST", f"/spaces/{home.slug}/functions/ready/invoke", 101 * MB),
        ("POST", f"/spaces/{home.slug}/functions/ready/async-invoke", 101 * MB),
        ("POST", f"/v1/{home.slug}/functions/ready/invoke", 101 * MB),
        ("POST", "/platform/v1/functions", 9 * MB),
        ("POST", f"/isolet/v1/projects/{home.slug}/database/query", 9 * MB),
        ("PUT", f"/isolet/v1/projects/{home.slug}/kv/name", 26 * MB),
        ("POST", f"/isolet/v1/projects/{home.slug}/database/import", 33 * MB),
    ]:
        head = f"{method} {path} HTTP/1.1\r\nhost: test\r\nx-api-key: {key}\r\ncontent-length: {size}\r\n\r\n"
        with connection(server.url) as opened:
            opened.sendall(head.encode())
            assert opened.recv(65_536).startswith(b"HTTP/1.1 413 "), path


def test_a_management_body_of_many_values_is_refused_and_stops_nobody(own_server: Server, project: Project) -> None:
    hostile = b'{"function":[' + b"{}," * 2_500_000 + b"1]}"
    for path in ("/platform/v1/functions", f"/isolet/v1/projects/{project.slug}/database/query"):
        with Watch(own_server) as watch:
            reply = project.client.post(path, content=hostile, headers={"content-type": "application/json"}, timeout=60)
        assert reply.status_code == 400, reply.text
        assert "more than 40000 values" in reply.text
        assert watch.longest_s < 2


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"sql": "SELECT 1", "params": [' + "0," * 60_000 + "0]}", "more than 40000 values"),
        ('{"sql": "SELECT 1", "params": [NaN]}', "Invalid JSON"),
        ('{"sql": "SELECT 1", "params": [1e400]}', "Invalid JSON"),
    ],
)
def test_a_body_with_a_model_is_read_as_strictly_as_others(project: Project, body: str, told: str) -> None:
    path, headers = f"/isolet/v1/projects/{project.slug}/database/query", {"content-type": "application/json"}
    reply = project.client.post(path, content=body, headers=headers)
    assert (reply.status_code, told in reply.text) == (400, True), reply.text


def test_a_long_text_of_commas_is_one_value(project: Project) -> None:
    text = ",[{" * 60_000
    path = f"/isolet/v1/projects/{project.slug}/database/query"
    reply = project.client.post(path, json={"sql": "SELECT length(?) AS n", "params": [text]})
    assert (reply.status_code, reply.json()["rows"]) == (200, [{"n": len(text)}])


def test_a_project_waits_for_its_own_share_and_others_do_not(tmp_path: Path) -> None:
    with (
        Server(tmp_path / "data", body_memory_mb=4) as server,
        server.client() as root,
        new_project(server, root) as a,
        new_project(server, root) as b,
        ExitStack() as stack,
    ):
        ids = [Kapso(project.client).deployed(COUNTS, public_endpoint=True) for project in (a, b)]
        head = f"POST /platform/v1/functions/{ids[0]}/invoke HTTP/1.1\r\nhost: test\r\ncontent-length: {2 * MB}\r\n\r\n"
        silent = [stack.enter_context(connection(server.url)) for _ in range(6)]
        for opened in silent:
            opened.sendall(head.encode() + b'"' + b"x" * 1000)
        large = iter([b'"' + b"x" * MB + b'"'])
        assert Kapso(b.client).invoke(ids[1], content=large).status_code == 200
        # Small bodies of the project itself go on.
        assert Kapso(a.client).invoke(ids[0], {"small": True}).status_code == 200
        # Two of its large ones are read; the others follow as those end.
        for opened in silent:
            opened.sendall(b"x" * (2 * MB - 1002) + b'"')
        for opened in silent:
            assert opened.recv(65_536).startswith(b"HTTP/1.1 200 ")


def test_many_who_wait_for_their_projects_share_are_refused_at_once(tmp_path: Path) -> None:
    with (
        Server(tmp_path / "data", body_memory_mb=4) as server,
        server.client() as root,
        new_project(server, root) as a,
        ExitStack() as stack,
    ):
        function_id = Kapso(a.client).deployed(COUNTS, public_endpoint=True)
        path = f"/platform/v1/functions/{function_id}/invoke"
        head = f"POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {2 * MB}\r\n\r\n".encode()
        # Two are read, a hundred wait, and the others hear so long before anybody's wait is over.
        silent = [stack.enter_context(connection(server.url)) for _ in range(110)]
        for opened in silent:
            opened.sendall(head + b'"')
        answered, _, _ = select.select(silent, [], [], 25)
        replies = [opened.recv(65_536) for opened in answered]
        assert replies
        for reply in replies:
            assert reply.startswith(b"HTTP/1.1 429 ")
            assert b"retry-after: 5\r\n" in reply
            assert b"share of the server's memory" in reply
