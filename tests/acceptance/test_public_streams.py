"""Long and large exchanges at public addresses: uploads and downloads, event streams, conversations over WebSockets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.support.most_memory import MostMemory
from tests.support.projects import new_project
from tests.support.public import Public
from tests.support.server import Server
from tests.support.waiting import wait_until

MIB = 1024 * 1024
PART = 64 * 1024
# Native streams, so that only the bytes cost something.
DIGEST = """
import { Buffer } from "node:buffer";
export default { async fetch(request) {
  const digest = new crypto.DigestStream("SHA-256");
  await request.body.pipeTo(digest);
  return Response.json({ size: Number(digest.bytesWritten), digest: Buffer.from(await digest.digest).toString("hex"),
    told: request.headers.get("content-length") });
} };
"""
PARTS = """
export default { fetch(request) {
  const parts = Number(new URL(request.url).searchParams.get("parts"));
  let sent = 0;
  return new Response(new ReadableStream({ pull(controller) {
    if (sent === parts) return controller.close();
    controller.enqueue(new Uint8Array(65_536).fill(sent++ % 251));
  } }), { headers: { "content-type": "application/octet-stream" } });
} };
"""
EVENTS = """
export default { fetch() {
  let count = 0;
  return new Response(new ReadableStream({ async pull(controller) {
    await scheduler.wait(200);
    controller.enqueue(new TextEncoder().encode(`id: ${count}\\ndata: ${Date.now()}\\n\\n`));
    if (++count === 18) controller.close();
  } }), { headers: { "content-type": "text/event-stream" } });
} };
"""
CHAT = (Path(__file__).parents[2] / "examples/chat/chat.js").read_text()


@pytest.fixture(scope="module")
def public(server: Server, root: httpx.Client) -> Iterator[Public]:
    with new_project(server, root) as project, server.client("") as client:
        yield Public(project, client)


def _put(public: Public, name: str, **body: Any) -> None:
    url = f"/isolet/v1/projects/{public.project.slug}/functions/{name}"
    made = public.project.client.put(url, json={"access": "public", **body}, params={"wait": 120})
    assert made.status_code == 201, made.text


def _parts(count: int) -> Iterator[bytes]:
    return (bytes([number % 251]) * PART for number in range(count))


def _digest(count: int) -> str:
    digest = hashlib.sha256()
    for part in _parts(count):
        digest.update(part)
    return digest.hexdigest()


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_large_upload_is_not_held_in_memory(public: Public, server: Server, framing: str) -> None:
    """It does not fit into the memory that is left to it on either side."""
    name = f"digest-{framing}"
    _put(public, name, code=DIGEST, limits={"memory_limit_mb": 64, "timeout_ms": 600_000})
    count = 64 * MIB // PART
    headers = {"Content-Length": str(count * PART)} if framing == "length" else {}
    public.call(name, "POST", content=_parts(16))
    with MostMemory(server.process.pid) as memory:
        reply = public.call(name, "POST", content=_parts(count), headers=headers)
    told = headers.get("Content-Length")
    assert reply.json() == {"size": count * PART, "digest": _digest(count), "told": told}
    assert memory.grown_bytes < 32 * MIB


def test_a_large_download_is_not_held_in_memory(public: Public, server: Server) -> None:
    _put(public, "parts", code=PARTS)
    count, digest = 64 * MIB // PART, hashlib.sha256()
    public.call("parts?parts=16")
    with (
        MostMemory(server.process.pid) as memory,
        public.client.stream("GET", f"/f/{public.project.slug}/parts", params={"parts": count}) as reply,
    ):
        for part in reply.iter_raw():
            digest.update(part)
    assert digest.hexdigest() == _digest(count)
    assert memory.grown_bytes < 32 * MIB


def test_an_event_stream_outlives_its_timeout_while_it_moves(public: Public) -> None:
    """Its limit is silence: 18 events, one each 200 ms, of a function that may take 3 s."""
    _put(public, "events", code=EVENTS, limits={"timeout_ms": 3000})
    with public.client.stream("GET", f"/f/{public.project.slug}/events") as reply:
        text = "".join(reply.iter_text())
    assert reply.headers["content-type"] == "text/event-stream"
    events = [dict(line.split(": ") for line in event.split("\n")) for event in text.strip().split("\n\n")]
    assert [event["id"] for event in events] == [str(number) for number in range(18)]
    assert int(events[-1]["data"]) - int(events[0]["data"]) > 3000
    call = reply.headers["x-invocation-id"]

    def record() -> dict[str, Any] | None:
        found = public.project.client.get(f"/isolet/v1/invocations/{call}")
        return found.json() if found.status_code == 200 else None

    shown = wait_until(record, what="the record")
    assert shown is not None
    assert (shown["outcome"], shown["duration_ms"] > 3000) == ("ok", True)


def _join(public: Public, name: str) -> ClientConnection:
    address = str(public.client.base_url).replace("http", "ws", 1)
    return connect(f"{address}/f/{public.project.slug}/{name}", open_timeout=60, proxy=None, ping_interval=None)


def test_two_clients_talk_to_each_other(public: Public) -> None:
    _put(public, "chat", entry="chat.js", files={"chat.js": CHAT, "page.html": "<h1>Chat</h1>"})
    with _join(public, "chat") as ada, _join(public, "chat") as bob:
        assert [ada.recv(timeout=60), ada.recv(timeout=60)] == ["1 here", "2 here"]
        assert bob.recv(timeout=60) == "2 here"
        for number in range(5):
            ada.send(f"from ada {number}")
            bob.send(f"from bob {number}")
            for who in (ada, bob):
                assert {who.recv(timeout=60) for _ in range(2)} == {f"from ada {number}", f"from bob {number}"}
