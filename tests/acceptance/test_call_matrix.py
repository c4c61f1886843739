"""What a function sees of a call: each door, by each method, with each kind of body, at each shape of path."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct, field

from tests.support.altair import Altair
from tests.support.doors import Doors
from tests.support.projects import new_project
from tests.support.server import Server

SEEN = """
const hex = (bytes) => Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
export default { async fetch(request) {
  const body = await request.arrayBuffer();
  const { pathname, search } = new URL(request.url);
  const seen = { method: request.method, path: pathname, query: search.slice(1),
    type: request.headers.get("content-type"), mine: request.headers.get("x-mine"),
    keys: ["authorization", "x-api-key"].filter((name) => request.headers.has(name)),
    prefix: request.headers.get("x-forwarded-prefix"), ip: request.headers.get("x-real-ip"),
    size: body.byteLength, digest: hex(await crypto.subtle.digest("SHA-256", body)) };
  const text = JSON.stringify(seen);
  if (request.method === "POST") console.log(text);
  return new Response(text, { headers: { "content-type": "application/json", "x-seen": text } });
} };
"""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
QUERY = "a=1&a=%20&&=&no-value&x=%7b%7D&plus=a+b&snow=%E2%98%83&s=/?:@!$()*,;~%00%2F%0d%0a"


class Sent(Struct, frozen=True, kw_only=True):
    """A body as it is sent: `parts` go in chunks."""

    type: str | None = None
    data: bytes = b""
    parts: tuple[bytes, ...] = ()

    @property
    def whole(self) -> bytes:
        return self.data or b"".join(self.parts)


BODIES = {
    "none": Sent(),
    "json": Sent(type="application/json", data='{"a": [1, null, "☃"]}'.encode()),
    "form": Sent(type="application/x-www-form-urlencoded", data=b"hub.mode=subscribe&a=1&a=%C3%BC+"),
    "multipart": Sent(
        type="multipart/form-data; boundary=edge",
        data=b"--edge\r\nContent-Disposition: form-data; name=f; filename=a\r\n\r\n\x00\xff\r\n--edge--\r\n",
    ),
    "binary": Sent(type="application/octet-stream", data=bytes(range(256)) * 3),
    "chunked": Sent(type="application/json", parts=(b'{"a":', b" 1,", b'"b": "' + b"x" * 70_000, b'"}')),
    "large": Sent(type="application/json", data=b'"' + b"l" * 1_500_000 + b'"'),
}
_JSON = ("json", "chunked", "large")
_DEEP = "/" + "/".join(["deep"] * 100)
SHAPES = ("", "/", "/todos/7", "/a%2Fb", "/a//b/", "//", "/%E2%98%83/x+y", _DEEP)


class Door(Struct, frozen=True, kw_only=True):
    """One row of the matrix: what passes through a door, and what becomes of it.

    `address` is where it is; with `host`, at that host. `paths` are the shapes below it that it takes, with the path
    that the function sees of each; a shape that is not named gives `other_path`.
    """

    address: str
    host: str | None = None
    methods: tuple[str, ...] = METHODS
    # A body that is not named gives `other_body`.
    bodies: tuple[str, ...] = tuple(BODIES)
    other_body: int = 400
    # What the function sees instead of what was sent, by kind of body.
    becomes: dict[str, Sent] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    other_path: int = 404
    shapes: tuple[str, ...] = SHAPES
    keeps_query: bool = True
    keeps_headers: bool = True
    prefix: str | None = None


_BELOW = {shape: shape or "/" for shape in SHAPES}
_KAPSO = {"methods": ("POST",), "bodies": ("none", *_JSON)}
DOORS = {
    "kapso": Door(address="/platform/v1/functions/{id}/invoke", paths={"": "{address}"}, **_KAPSO),
    "kapso older": Door(address="/api/v1/functions/{id}/invoke", paths={"": "{address}"}, **_KAPSO),
    "butterbase": Door(address="/v1/{slug}/fn/shown", paths={"": "{address}"}),
    "butterbase test call": Door(
        address="/v1/{slug}/functions/shown/invoke",
        methods=("POST",),
        bodies=("none", *_JSON),
        becomes={"none": Sent(type="application/json", data=b"{}")},
        paths={"": "/v1/{slug}/fn/shown"},
        other_path=405,
        keeps_query=False,
        keeps_headers=False,
    ),
    "altair": Door(
        address="/spaces/{slug}/functions/shown/invoke",
        methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
        # Three levels, by its documentation.
        paths={shape: path for shape, path in _BELOW.items() if shape != _DEEP},
    ),
    "public": Door(address="/f/{slug}/shown", paths=_BELOW, prefix="/f/{slug}/shown"),
    "own host": Door(address="", host="shown--{slug}.localhost", paths=_BELOW, shapes=SHAPES[1:]),
}
ASYNC = Door(address="/spaces/{slug}/functions/shown/async-invoke")
GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "which-api.md"


class Caller:
    """Sends requests through doors as they are written, on one connection."""

    def __init__(self, doors: Doors, connection: http.client.HTTPConnection) -> None:
        self.doors = doors
        self._connection = connection

    def text(self, template: str, door: Door) -> str:
        known = {"id": self.doors.id, "slug": self.doors.project.slug}
        return template.format(address=door.address.format(**known), **known)

    def send(
        self, door: Door, method: str = "POST", below: str = "", sent: Sent = BODIES["json"]
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in lower case, body."""
        headers = {"X-API-Key": str(self.doors.project.client.headers["X-API-Key"]), "X-Mine": "yes"}
        headers |= {"Content-Type": sent.type} if sent.type else {}
        headers |= {"Host": self.text(door.host, door)} if door.host else {}
        headers |= {} if sent.parts else {"Content-Length": str(len(sent.data))}
        body: Any = iter(sent.parts) if sent.parts else sent.data
        self._connection.request(
            method, self.text(door.address, door) + below, body, headers, encode_chunked=bool(sent.parts)
        )
        reply = self._connection.getresponse()
        content = reply.read()
        return reply.status, {name.lower(): value for name, value in reply.getheaders()}, content


@pytest.fixture(scope="module")
def caller(server: Server) -> Iterator[Caller]:
    with server.client() as root, new_project(server, root) as project:
        doors = Doors(project, SEEN)
        made = project.client.patch(f"/isolet/v1/functions/{doors.id}", json={"access": "public"})
        assert made.status_code == 200, made.text
        with closing(http.client.HTTPConnection(*doors.address, timeout=60)) as connection:
            yield Caller(doors, connection)


def _of(names: Iterable[str]) -> Any:
    return pytest.mark.parametrize("name", list(names))


@_of(DOORS)
def test_methods(caller: Caller, name: str) -> None:
    door = DOORS[name]
    for method in METHODS:
        status, headers, content = caller.send(door, method, sent=BODIES["none"])
        if method not in door.methods:
            assert status == 405, method
            continue
        assert status == 200, (method, content)
        assert (method == "HEAD") == (content == b"")
        seen = json.loads(content or headers["x-seen"])
        assert seen["method"] == method
        assert seen["keys"] == []
        assert seen["ip"] == "127.0.0.1"
        assert seen["mine"] == ("yes" if door.keeps_headers else None)
        assert seen["prefix"] == (None if door.prefix is None else caller.text(door.prefix, door))


@_of(DOORS)
def test_methods_that_no_function_can_take(caller: Caller, name: str) -> None:
    door, doors = DOORS[name], caller.doors
    host = caller.text(door.host or "a.test", door).encode()
    for method in b"CONNECT LINK UNLINK BIND REBIND UNBIND MKCALENDAR SOURCE M-SEARCH".split():
        target = caller.text(door.address, door) or "/"
        reply = doors.send(doors.head("", b"Connection: close", method=method, host=host, target=target))
        assert (reply.status, "x-invocation-id" in reply.headers) == (405, False), method
        assert reply.headers["allow"]


@_of(DOORS)
def test_bodies(caller: Caller, name: str) -> None:
    door = DOORS[name]
    for kind, sent in BODIES.items():
        status, headers, content = caller.send(door, sent=sent)
        if kind not in door.bodies:
            assert status == door.other_body, (kind, content)
            assert "x-seen" not in headers
            continue
        assert status == 200, (kind, content)
        seen = json.loads(content)
        wanted = door.becomes.get(kind, sent)
        assert (seen["type"], seen["size"]) == (wanted.type, len(wanted.whole)), kind
        assert seen["digest"] == hashlib.sha256(wanted.whole).hexdigest(), kind


@_of(DOORS)
def test_paths(caller: Caller, name: str) -> None:
    door = DOORS[name]
    for shape in door.shapes:
        status, headers, content = caller.send(door, below=shape)
        if shape not in door.paths:
            assert status == door.other_path, (shape, content)
            assert "x-seen" not in headers
            continue
        assert status == 200, (shape, content)
        assert json.loads(content)["path"] == caller.text(door.paths[shape], door)


@_of(DOORS)
def test_queries(caller: Caller, name: str) -> None:
    door = DOORS[name]
    for shape in [one for one in door.shapes if one in door.paths][:3]:
        for query in (QUERY, "", "only"):
            status, _, content = caller.send(door, below=f"{shape}?{query}")
            assert status == 200, (shape, content)
            assert json.loads(content)["query"] == (query if door.keeps_query else ""), shape


@_of(kind for kind in BODIES)
def test_an_asynchronous_call_sees_the_same(caller: Caller, name: str) -> None:
    """By the console, as its reply goes to a callback."""
    sent = BODIES[name]
    project = caller.doors.project
    status, headers, content = caller.send(ASYNC, below=f"/todos//7?{QUERY}", sent=sent)
    assert status == 202, content
    Altair(project.client, project.slug).ended(headers["x-invocation-id"])
    record = project.client.get(f"/isolet/v1/invocations/{headers['x-invocation-id']}").json()
    seen = json.loads(record["console"][0]["message"])
    assert (seen["method"], seen["path"], seen["query"]) == ("POST", "/todos//7", QUERY)
    assert (seen["type"], seen["size"], seen["mine"], seen["keys"]) == (sent.type, len(sent.whole), "yes", [])
    assert seen["digest"] == hashlib.sha256(sent.whole).hexdigest()


def test_each_door_of_the_guide_is_in_the_matrix() -> None:
    """Those that take a request; the others bring events or arguments."""
    rows = re.findall(r"^\| `([^|`]+)` (?:and below )?\| .*\| (?:all|GET|POST)", GUIDE.read_text(), re.MULTILINE)
    guide = {re.sub(r"{(app|space|project)}", "{slug}", row) for row in rows}
    guide = {re.sub(r"{(name|function)}", "shown", row).replace("{domain}", "localhost") for row in guide}
    assert {door.host or door.address for door in (*DOORS.values(), ASYNC)} == guide
