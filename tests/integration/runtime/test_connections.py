"""How many connections a project may have open to the world, and what those beyond are told."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from isolet.ids import ProjectId
from isolet.runtime.egress import Egresses
from isolet.runtime.envelope import FETCH
from isolet.runtime.instance import Instance
from isolet.runtime.pool import Pool
from isolet.wire import heads
from tests.support.runtime import Lines, Runtime, a_spec, acquire, fetch

# `/?kind=fetch&count=N&to=ADDRESS` opens N connections, tells how each went and closes them, or keeps them (`keep`).
OPENS = """
import { connect } from "cloudflare:sockets";

async function opened(kind, to) {
  if (kind === "fetch") {
    const reply = await fetch(`http://${to}/`);
    if (reply.status !== 200) throw new Error(`${reply.status} ${await reply.text()}`);
    return reply;
  }
  if (kind === "websocket") {
    const reply = await fetch(`http://${to}/`, { headers: { upgrade: "websocket" } });
    if (reply.status !== 101) throw new Error(`${reply.status} ${await reply.text()}`);
    reply.webSocket.accept();
    return reply.webSocket;
  }
  const socket = connect(to);
  await socket.opened;
  return socket;
}

export default async (request) => {
  const asked = new URL(request.url).searchParams;
  const count = Number(asked.get("count"));
  const kept = await Promise.allSettled(
    Array.from({ length: count }, () => opened(asked.get("kind"), asked.get("to"))),
  );
  const told = kept.map(({ status, reason }) => status === "fulfilled" ? "open" : String(reason.message).trim());
  const { readable, writable } = new TransformStream();
  const writer = writable.getWriter();
  (async () => {
    await writer.write(new TextEncoder().encode(JSON.stringify(told)));
    if (asked.get("keep") !== null) await scheduler.wait(120_000);
    for (const { value } of kept) await (value?.body?.cancel() ?? value?.close());
    await writer.close();
  })();
  return new Response(readable);
};
"""
# RFC 6455, 1.3.
_WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile(rb"\r\nsec-websocket-key: *(\S+)\r\n", re.IGNORECASE)
KINDS = ["fetch", "connect", "websocket"]


class World:
    """Accepts everything, answers requests with the beginning of a reply, and keeps them open."""

    def __init__(self) -> None:
        self.open: set[asyncio.StreamWriter] = set()
        self.address = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if (found := _KEY.search(head)) is not None:
                accept = base64.b64encode(hashlib.sha1(found[1] + _WEBSOCKET, usedforsecurity=False).digest())
                writer.write(
                    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
                    b"sec-websocket-accept: " + accept + b"\r\n\r\n"
                )
            else:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nx")
            # A frame that closes, or the end.
            await reader.read(1)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open.discard(writer)
            writer.close()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, backlog=1024)
    async with server:
        made.address = "{}:{}".format(*server.sockets[0].getsockname())
        yield made
        for writer in made.open:
            writer.close()


class Limited:
    """Ways out whose limit of connections is `limit`, for every project."""

    def __init__(self, runtime: Runtime) -> None:
        self.limit = 5
        self.egresses: Egresses = runtime.egresses("127.0.0.1/32", limit_of=lambda _: self.limit)


@pytest.fixture
async def limited(runtime: Runtime) -> Limited:
    return Limited(runtime)


@pytest.fixture
async def pool(runtime: Runtime, limited: Limited) -> AsyncIterator[Pool]:
    async with runtime.pool(Lines(), egresses=limited.egresses) as opened:
        yield opened


async def an_instance(pool: Pool, project: str = "a") -> Instance:
    return await acquire(pool, a_spec(OPENS, project_id=ProjectId(project)))


async def opens(instance: Instance, kind: str, count: int, to: str) -> list[str]:
    async with asyncio.timeout(30):
        status, body = await fetch(instance, f"/?kind={kind}&count={count}&to={to}")
    assert status == 200
    return list(json.loads(body))


class Holding:
    """A call that keeps what it opened until it is left."""

    def __init__(self, instance: Instance, kind: str, count: int, to: str) -> None:
        self._instance = instance
        self._target = f"/?kind={kind}&count={count}&to={to}&keep="
        self.told: list[str] = []

    async def __aenter__(self) -> Holding:
        async with asyncio.timeout(30):
            self._connection = await self._instance.channel.connect(fresh=True)
            lines = [heads.line(b"host", b"test"), FETCH.line(b"")]
            self._connection.begin(heads.request(b"GET", self._target.encode(), lines))
            await self._connection.head()
            self.told = list(json.loads(await self._connection.chunk()))
        return self

    async def __aexit__(self, *_: Any) -> None:
        self._instance.channel.release(self._connection)


def refused(told: list[str]) -> list[str]:
    return [text for text in told if text != "open"]


@pytest.mark.parametrize("kind", KINDS)
async def test_those_over_the_limit_are_told_its_name_and_the_others_work(pool: Pool, world: World, kind: str) -> None:
    instance = await an_instance(pool)
    told = await opens(instance, kind, 40, world.address)
    assert told.count("open") == 5
    assert len(refused(told)) == 35
    expected = 'the project has 5 outgoing connections open, as many as its limit "connections" allows'
    assert all(expected in text for text in refused(told)), set(refused(told))


@pytest.mark.parametrize("kind", KINDS)
async def test_all_kinds_and_instances_of_a_project_share_its_limit_and_no_other_project(
    pool: Pool, limited: Limited, world: World, kind: str
) -> None:
    first, second, other = await an_instance(pool), await an_instance(pool), await an_instance(pool, "b")
    async with Holding(first, kind, 5, world.address) as holding:
        assert holding.told == ["open"] * 5
        process = limited.egresses.hold(ProjectId("a")).pid
        for again in KINDS:
            assert len(refused(await opens(second, again, 3, world.address))) == 3
        assert await opens(other, kind, 5, world.address) == ["open"] * 5
        assert limited.egresses.hold(ProjectId("a")).pid == process


async def test_what_was_closed_makes_room_again(pool: Pool, world: World) -> None:
    instance = await an_instance(pool)
    for _ in range(3):
        async with asyncio.timeout(30):
            # What a call left open when it ended is closed moments later.
            while refused(await opens(instance, "fetch", 5, world.address)):
                pass


async def test_a_limit_that_changes_holds_for_the_process_that_runs(pool: Pool, limited: Limited, world: World) -> None:
    instance = await an_instance(pool)
    assert len(refused(await opens(instance, "connect", 8, world.address))) == 3
    for limit in (8, 2):
        limited.limit = limit
        async with asyncio.timeout(30):
            while len(refused(await opens(instance, "websocket", 8, world.address))) != 8 - limit:
                pass


async def test_thousands_of_attempts_end_nothing(pool: Pool, limited: Limited, world: World) -> None:
    limited.limit = 100
    instances = [await an_instance(pool) for _ in range(3)]
    other = await an_instance(pool, "b")
    assert await opens(instances[0], "fetch", 1, world.address) == ["open"]
    process = limited.egresses.hold(ProjectId("a")).pid
    holding = [Holding(instance, "connect", 700, world.address) for instance in instances]
    try:
        await asyncio.gather(*(part.__aenter__() for part in holding))
        assert sum(part.told.count("open") for part in holding) == 100
    finally:
        for part in holding:
            await part.__aexit__()
    assert limited.egresses.hold(ProjectId("a")).pid == process
    assert await opens(other, "connect", 5, world.address) == ["open"] * 5
