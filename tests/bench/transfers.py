"""A gigabyte up and down at a function's public address: how fast, and what the server and the function hold of it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx

from tests.bench.report import Figure, single
from tests.support.most_memory import MostMemory
from tests.support.server import Server

_MIB = 1024 * 1024
_PART = bytes(64 * 1024)
_PARTS = 1024 * _MIB // len(_PART)
_CODE = """
export default { async fetch(request) {
  if (request.method === "POST") {
    const digest = new crypto.DigestStream("SHA-256");
    await request.body.pipeTo(digest);
    return new Response(digest.bytesWritten);
  }
  let parts = Number(new URL(request.url).searchParams.get("parts"));
  return new Response(new ReadableStream({ pull(controller) {
    if (parts-- > 0) controller.enqueue(new Uint8Array(65_536));
    else controller.close();
  } }));
} };
"""
_PATH = "/f/default/transfers"


def run() -> Sequence[Figure]:
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder) / "data", max_body_mb=1024) as server,
        server.client() as client,
    ):
        body = {"code": _CODE, "access": "public", "limits": {"timeout_ms": 600_000, "cpu_ms": 300_000}}
        url = "/isolet/v1/projects/default/functions/transfers"
        client.put(url, json=body, params={"wait": 60}).raise_for_status()
        return [*_measured("up", server, client, _up), *_measured("down", server, client, _down)]


def _measured(
    name: str, server: Server, client: httpx.Client, move: Callable[[httpx.Client, int], int]
) -> list[Figure]:
    # What the first one loads is no part of what one holds.
    move(client, 64)
    # The only instance: no other function is there, and this one uses no store.
    (instance,) = (child for child in server.children() if child.name() == "workerd")
    with MostMemory(server.process.pid) as of_server, MostMemory(instance.pid) as of_function:
        began = time.monotonic()
        moved = move(client, _PARTS)
        took_s = time.monotonic() - began
    if moved != _PARTS * len(_PART):
        raise AssertionError(f"{moved} bytes of {_PARTS * len(_PART)} went {name}")
    return [
        single(f"1 GiB {name}", "MiB/s", [moved / _MIB / took_s]),
        single(f"1 GiB {name}: held by the server", "MiB", [of_server.grown_bytes / _MIB]),
        single(f"1 GiB {name}: held by the function", "MiB", [of_function.grown_bytes / _MIB]),
    ]


def _up(client: httpx.Client, parts: int) -> int:
    reply = client.post(_PATH, content=_body(parts), headers={"Content-Length": str(parts * len(_PART))})
    return int(reply.raise_for_status().text)


def _body(parts: int) -> Iterator[bytes]:
    return (_PART for _ in range(parts))


def _down(client: httpx.Client, parts: int) -> int:
    with client.stream("GET", _PATH, params={"parts": parts}) as reply:
        return sum(len(part) for part in reply.raise_for_status().iter_raw())
