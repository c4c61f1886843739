"""What one project may try against all others: each experiment prepares something and gives what is done in a round.

A round is bounded, and ends by itself. What the server answers is not looked at: other tests say what is right, here
only what the neighbours notice counts.
"""

from __future__ import annotations

import contextlib
import io
import json
import socket
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx

from tests.support.altair import Altair
from tests.support.butterbase import Butterbase
from tests.support.kapso import Kapso
from tests.support.limits import limited
from tests.support.projects import Project

_MB = 1024 * 1024
_ROUND_S = 2.0
_ECHO = "export default { async fetch(r) { await r.arrayBuffer(); return new Response('ok'); } }"
_SLOW = (
    "export default { async fetch() { await new Promise((done) => setTimeout(done, 3000)); return new Response(); } }"
)
_FORGING = """
import { AsyncLocalStorage } from "node:async_hooks";
const real = AsyncLocalStorage.prototype.getStore;
export default { async fetch() {
  AsyncLocalStorage.prototype.getStore = function () {
    const store = real.call(this);
    return store && typeof store === "object" ? { ...store, id: crypto.randomUUID(), lines: 0 } : store;
  };
  String.prototype.slice = function () { return this; };
  Date.now = () => 1e18;
  const line = "x".repeat(200_000);
  for (let n = 0; n < 100; n++) console.log(n + line);
  return new Response("ok");
} }"""

Round = Callable[[], None]


def private_values(home: Project) -> Round:
    """Values that contain one another, in a reply that holds them everywhere."""
    with home.server.client("") as public:
        values = {f"V{n}": "a" * (4 + n) for n in range(100)}
        code = "export default { fetch() { return new Response('a'.repeat(16_384)); } }"
        Butterbase(home.client, public).post("values", code, envVars=values, triggers=_open())
    return _calls(home, f"/v1/{home.slug}/fn/values")


def private_lists(home: Project) -> Round:
    """A value with many texts in it, in every line of the console."""
    with home.server.client("") as public:
        value = json.dumps([f"{n}-{'b' * n}" for n in range(100)])
        lines = "for (let n = 0; n < 100; n++) console.log('b'.repeat(9000));"
        code = f"export default {{ fetch() {{ {lines} return new Response(); }} }}"
        Butterbase(home.client, public).post("lines", code, envVars={"LIST": value}, triggers=_open())
    return _calls(home, f"/v1/{home.slug}/fn/lines", times=8)


def large_json(home: Project) -> Round:
    """Without a key, a body that is cheap to send and dear to build; then one that is broken at its end."""
    path = _public(home)
    whole = b"[" + b"{}," * (10 * _MB) + b"{}]"
    broken = whole[: 10 * _MB] + b"{"

    def act() -> None:
        for body in (whole, broken):
            with home.server.client("") as client, contextlib.suppress(httpx.HTTPError):
                client.post(path, content=body, headers={"Content-Type": "application/json"}, timeout=60)

    return act


def silent_bodies(home: Project) -> Round:
    """Without a key, bodies that are nearly whole, and then nothing."""
    path = _public(home)
    head = b"POST %b HTTP/1.1\r\nhost: a.test\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n["
    request = head % (path.encode(), 60 * _MB)

    def act() -> None:
        with _connections(home, 20, first=request) as connections:
            _flood(connections, b"1," * (_MB // 2), limit=50)

    return act


def endless_trailers(home: Project) -> Round:
    """Without a key, header fields behind a body that never end."""
    path = _public(home)
    begin = b"POST %b HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n" % path.encode()

    def act() -> None:
        with _connections(home, 4, first=begin) as connections:
            _flood(connections, b"x-filler: %b\r\n" % (b"y" * 1000) * 64, limit=300)

    return act


def console_flood(home: Project) -> Round:
    """Lines for calls that never were, with the wrapper's own means turned against it."""
    function_id = limited(Kapso(home.client), _FORGING, timeout_ms=2000)
    return _calls(home, f"/platform/v1/functions/{function_id}/invoke", times=2)


def large_answers(home: Project) -> Round:
    """Rows by the hundred thousand through the management API."""
    sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500000) SELECT i, i*2, i*3 FROM n"

    def act() -> None:
        with contextlib.suppress(httpx.HTTPError):
            home.client.post(f"/isolet/v1/projects/{home.slug}/database/query", json={"sql": sql}, timeout=60)

    return act


def large_lists(home: Project) -> Round:
    """All functions of a project, each as long as code may be."""
    kapso = Kapso(home.client)
    code = "export default { fetch() { return new Response('" + "z" * 1_000_000 + "'); } }"
    for number in range(40):
        kapso.create(code, name=f"long {number}")

    def act() -> None:
        for path in ("/platform/v1/functions", "/isolet/v1/functions?limit=500", f"/v1/{home.slug}/functions"):
            with contextlib.suppress(httpx.HTTPError):
                home.client.get(path, timeout=60)

    return act


def endless_modules(home: Project) -> Round:
    """Deploys that do not end by themselves."""
    kapso = Kapso(home.client)
    names = [str(kapso.create("while (true) {}\nexport default {}", name=f"endless {n}")["id"]) for n in range(12)]

    def act() -> None:
        for function_id in names:
            home.client.post(f"/platform/v1/functions/{function_id}/deploy")

    return act


def many_deploys(home: Project) -> Round:
    """One function with as much code as may be, deployed again and again."""
    kapso = Kapso(home.client)
    code = "export default { fetch() { return new Response('" + "z" * 1_000_000 + "'); } }"
    function_id = str(kapso.create(code)["id"])

    def act() -> None:
        for _ in range(100):
            home.client.post(f"/platform/v1/functions/{function_id}/deploy")

    return act


def sparse_restore(home: Project) -> Round:
    """A backup of some bytes whose first member says that it is 3 GiB of nothing."""
    file = _sparse_tar(3 * 1024 * _MB)

    def act() -> None:
        for _ in range(5):
            with contextlib.suppress(httpx.HTTPError):
                home.client.post(f"/isolet/v1/projects/{home.slug}/restore", content=file, timeout=60)

    return act


def large_queue(home: Project) -> Round:
    """Asynchronous calls with large bodies, and large results, faster than they are run."""
    altair = Altair(home.client, home.slug)
    altair.running("slow", _SLOW)
    body = b"[" + b"1," * (2 * _MB) + b"1]"

    def act() -> None:
        for _ in range(20):
            with contextlib.suppress(httpx.HTTPError):
                altair.start_raw("slow", body, content_type="application/json")

    return act


def many_waiters(home: Project) -> Round:
    """Callers by the hundred that wait for one place."""
    function_id = limited(Kapso(home.client), _SLOW, concurrency=1, max_instances=1, timeout_ms=10_000)
    path = f"/platform/v1/functions/{function_id}/invoke"
    head = f"POST {path} HTTP/1.1\r\nhost: a.test\r\nx-api-key: {home.key('invoke')}\r\n"
    request = f"{head}content-length: 2\r\n\r\n{{}}".encode()

    def act() -> None:
        # One after the other: hundreds at the same moment are a load like any other.
        with _connections(home, 500, first=request):
            time.sleep(_ROUND_S)

    return act


def endless_checks(home: Project) -> Round:
    """Arguments of a tool whose small schema asks for 2^60 checks."""
    pairs = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(60)}
    schema = {"$ref": "#/$defs/d0", "$defs": {**pairs, "d60": {"type": "object"}}}
    sent = {"code": _ECHO, "tool": {"input_schema": schema}}
    made = home.client.put(f"/isolet/v1/projects/{home.slug}/functions/endless?wait=60", json=sent)
    assert made.status_code == 201, made.text

    def act() -> None:
        began = time.monotonic()

        def call(_: int) -> None:
            while time.monotonic() - began < _ROUND_S:
                home.client.post(f"/isolet/v1/projects/{home.slug}/tools/endless/call", json={"arguments": {}})

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(call, range(8)))

    return act


def broken_texts(home: Project) -> Round:
    """Errors that no database takes as they are, from asynchronous calls."""
    altair = Altair(home.client, home.slug)
    altair.running("broken", "export default { fetch() { throw new Error('b\\ud800\\0'.repeat(30_000)); } }")

    def act() -> None:
        for _ in range(100):
            altair.start_raw("broken")

    return act


EXPERIMENTS: Mapping[str, Callable[[Project], Round]] = {
    "values that contain one another": private_values,
    "a value of many texts, in the console": private_lists,
    "JSON of 30 MB without a key": large_json,
    "bodies that fall silent": silent_bodies,
    "trailers without end": endless_trailers,
    "a console that forges calls": console_flood,
    "half a million rows": large_answers,
    "40 functions of 1 MB in a list": large_lists,
    "modules that never end": endless_modules,
    "100 deploys of 1 MB": many_deploys,
    "a restore of 3 GiB of nothing": sparse_restore,
    "a queue of large bodies": large_queue,
    "500 callers that wait": many_waiters,
    "arguments of a tool that take for ever to check": endless_checks,
    "errors that are no text": broken_texts,
}


def _open() -> list[dict[str, object]]:
    return [{"type": "http", "config": {"auth": "none"}}]


def _public(home: Project) -> str:
    function_id = Kapso(home.client).deployed(_ECHO, public_endpoint=True)
    return f"/platform/v1/functions/{function_id}/invoke"


def _calls(home: Project, path: str, *, times: int = 20) -> Round:
    """Some calls, two at a time."""

    def call(_: int) -> None:
        with contextlib.suppress(httpx.HTTPError):
            home.client.post(path, json={})

    def act() -> None:
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(call, range(times)))

    return act


@contextlib.contextmanager
def _connections(home: Project, count: int, *, first: bytes = b"") -> Iterator[list[socket.socket]]:
    """So many connections, each of which begins with `first`."""
    parts = urlsplit(home.server.url)
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            with contextlib.suppress(OSError):
                found.append(stack.enter_context(socket.create_connection((parts.hostname, parts.port), timeout=30)))
                found[-1].sendall(first)
        yield found


def _flood(connections: list[socket.socket], piece: bytes, *, limit: int) -> None:
    """Send pieces on all of them for the length of a round, at most `limit` on each, as fast as they are taken."""
    stop = time.monotonic() + _ROUND_S

    def send(connection: socket.socket) -> None:
        connection.settimeout(0.2)
        rest, sent = piece, 0
        while time.monotonic() < stop and sent < limit:
            try:
                rest = rest[connection.send(rest) :]
            except TimeoutError:
                continue
            except OSError:
                return
            if not rest:
                rest, sent = piece, sent + 1

    threads = [threading.Thread(target=send, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10 * _ROUND_S)
    time.sleep(max(stop - time.monotonic(), 0))


def _sparse_tar(size: int) -> bytes:
    """An archive in GNU's format with one sparse member of that size, which holds no data at all."""
    member = tarfile.TarInfo("isolet-backup-1")
    member.type = tarfile.GNUTYPE_SPARSE
    head = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    # Four pairs of offset and length, whether more follow, and the size that is meant.
    head[386 : 386 + 24] = b"%011o\0%011o\0" % (size, 0)
    head[483:495] = b"%011o\0" % size
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + io.BytesIO(bytes(1024)).getvalue()
