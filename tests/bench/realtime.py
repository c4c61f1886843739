"""Live connections: what an idle one takes, how long an event takes beside 2,000 of them, how a message goes out."""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import psutil
from websockets.asyncio.client import ClientConnection, connect

from tests.bench.report import Figure, single
from tests.support.server import Server

_CONNECTIONS = 2_000
_TALKING = 50
_EVENTS_S = 500
_SECONDS = 10
_SUBSCRIBERS = 1_000
_MESSAGES = 1_000
_ECHO = "export default async (request) => Response.json((await request.json()).payload);"


def run() -> Sequence[Figure]:
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "data") as server, server.client() as client:
        trigger = {"type": "websocket", "config": {"event": "echo"}}
        body = {"name": "echo", "code": _ECHO, "trigger": trigger}
        client.post("/v1/default/functions", json=body).raise_for_status()
        return asyncio.run(_run(server, client))


async def _run(server: Server, client: httpx.Client) -> Sequence[Figure]:
    process = psutil.Process(server.process.pid)
    address = f"{server.url.replace('http', 'ws')}/v1/default/realtime?token={server.root_key}"
    async with AsyncExitStack() as stack:
        # What the first ones load is no part of what one takes.
        await _dial(stack, address, 50)
        before = process.memory_info().rss
        idle = await _dial(stack, address, _CONNECTIONS)
        held_kib = (process.memory_info().rss - before) / 1024 / _CONNECTIONS
        # The function's process starts.
        await _ask(idle[0], "warm")
        spent = sum(process.cpu_times()[:2])
        times = await _talk(idle[:_TALKING])
        cpu_us = (sum(process.cpu_times()[:2]) - spent) / len(times) * 1e6
        sent_s = await _fan_out(idle[:_SUBSCRIBERS], client)
    return [
        single("memory of an idle connection", "KiB", [held_kib]),
        single(f"an event, {_EVENTS_S} a second, median", "ms", [statistics.median(times) * 1e3]),
        single(f"an event, {_EVENTS_S} a second, p99", "ms", [statistics.quantiles(times, n=100)[98] * 1e3]),
        single("an event", "µs CPU of the server", [cpu_us]),
        single(f"{_MESSAGES:,} messages to {_SUBSCRIBERS:,} subscribers", "messages/s to each", [_MESSAGES / sent_s]),
    ]


async def _dial(stack: AsyncExitStack, address: str, count: int) -> list[ClientConnection]:
    found = []
    for start in range(0, count, 100):
        dialed = [
            connect(address, compression=None, proxy=None, ping_interval=None) for _ in range(min(100, count - start))
        ]
        found.extend(await asyncio.gather(*(stack.enter_async_context(one) for one in dialed)))
    await asyncio.gather(*(one.recv() for one in found))
    return found


async def _ask(connection: ClientConnection, payload: object) -> None:
    await connection.send(json.dumps({"type": "event", "event": "echo", "payload": payload}))
    while json.loads(await connection.recv())["type"] != "event_response":
        pass


async def _talk(connections: Sequence[ClientConnection]) -> list[float]:
    times: list[float] = []

    async def one(connection: ClientConnection, offset_s: float) -> None:
        period_s = len(connections) / _EVENTS_S
        began = time.monotonic() + offset_s
        for number in range(int(_SECONDS / period_s)):
            await asyncio.sleep(max(0.0, began + number * period_s - time.monotonic()))
            sent = time.perf_counter()
            await _ask(connection, number)
            times.append(time.perf_counter() - sent)

    await asyncio.gather(*(one(connection, place / _EVENTS_S) for place, connection in enumerate(connections)))
    return times


async def _fan_out(connections: Sequence[ClientConnection], client: httpx.Client) -> float:
    """The seconds until every subscriber has every message, in order."""

    async def subscribe(connection: ClientConnection) -> None:
        await connection.send('{"type":"subscribe","channel":"all"}')
        await connection.recv()

    async def read(connection: ClientConnection) -> None:
        following = 1
        while following <= _MESSAGES:
            frame = json.loads(await connection.recv())
            if frame["type"] == "message":
                if frame["seq"] != following:
                    raise RuntimeError(f"message {frame['seq']} came instead of {following}")
                following += 1

    def publish() -> None:
        for number in range(_MESSAGES):
            body = {"channel": "all", "event": "said", "data": number}
            client.post("/isolet/v1/projects/default/realtime/publish", json=body).raise_for_status()

    await asyncio.gather(*(subscribe(connection) for connection in connections))
    began = time.monotonic()
    await asyncio.gather(asyncio.to_thread(publish), *(read(connection) for connection in connections))
    return time.monotonic() - began
