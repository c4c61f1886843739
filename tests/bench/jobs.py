"""Asynchronous calls: accepted and completed per second beside Restate, both durable; latency; a deep queue."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
from msgspec import Struct, field

from isolet.database import jobs as stored
from isolet.database.conclusions import Conclusion, Outcome, conclude
from isolet.database.connection import Database
from isolet.database.engine import sqlite_url
from isolet.database.leases import Claim, claim
from isolet.domain.http_jobs import CALL, CallPayload
from isolet.domain.invocations import Door, Kind
from isolet.domain.jobs import Job, JobEvent, concluded, lane
from isolet.ids import FunctionId, JobId, ProjectId, new_id
from tests.bench.report import Figure, single
from tests.bench.sides import BODY, FUNCTION, isolet_server
from tests.support.altair import Altair
from tests.support.server import Server
from tests.support.waiting import wait_until

_CALLS = 2_000
_CONNECTIONS = 16
_ROUNDS = 3
_IDLE_CALLS = 50
_DEEP = 100_000
_STORE_ROUNDS = 60
_ENDED_WITHIN_S = 60.0
# Where Restate's packages are; they are development dependencies.
_MODULES = Path(os.environ.get("BENCH_NODE_MODULES", "node_modules"))
_CALLED = CallPayload(door=Door.ALTAIR, kind=Kind.ASYNC, method="POST").dump()
_CLOCK = "export default async () => new Response(String(Date.now()));"


class Side(Struct, frozen=True, kw_only=True):
    """Where calls are posted, with which body, and how many have completed by now."""

    port: int
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = BODY
    completed: Callable[[], int]


def run() -> Sequence[Figure]:
    rates: dict[str, list[tuple[float, float]]] = {"isolet": [], "restate": []}
    with _isolet() as (server, ours), restate() as theirs:
        sides = [("isolet", ours)] + ([("restate", theirs)] if theirs is not None else [])
        for _, side in sides:
            measure(side, 200)
        for _ in range(_ROUNDS):
            for name, side in sides:
                rates[name].append(measure(side, _CALLS))
        latencies = _start_latencies_ms(server)
    figures = []
    for index, what in enumerate(("accepted", "completed")):
        for name, rounds in rates.items():
            if rounds:
                figures.append(single(f"{what}, {name}", "calls/s", [pair[index] for pair in rounds]))
    figures.append(single("202 to the start, idle, median", "ms", latencies))
    return [*figures, *asyncio.run(_depth())]


def measure(side: Side, calls: int) -> tuple[float, float]:
    """Accepted and completed calls per second."""
    before = side.completed()
    began = time.perf_counter()
    asyncio.run(_post_all(side, calls))
    accepted_s = time.perf_counter() - began
    wait_until(lambda: side.completed() >= before + calls, timeout_s=_ENDED_WITHIN_S, what="all calls")
    return calls / accepted_s, calls / (time.perf_counter() - began)


async def _post_all(side: Side, calls: int) -> None:
    lines = {"host": "bench", "content-type": "application/json", "content-length": str(len(side.body)), **side.headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    request = f"POST {side.path} HTTP/1.1\r\n{head}\r\n".encode() + side.body
    left = iter(range(calls))

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", side.port)
        for _ in left:
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith((b"HTTP/1.1 202", b"HTTP/1.1 200")):
                raise AssertionError(answer)
            await reader.readexactly(_length(answer))
        writer.close()

    await asyncio.gather(*(client() for _ in range(_CONNECTIONS)))


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


@contextmanager
def _isolet() -> Iterator[tuple[Server, Side]]:
    with isolet_server() as server:
        with server.client() as root:
            Altair(root).running("bench", FUNCTION)
            Altair(root).running("clock", _CLOCK)
        database = sqlite3.connect(server.data_dir / "isolet.db", isolation_level=None)

        def completed() -> int:
            (count,) = database.execute("SELECT count(*) FROM jobs WHERE state = 'succeeded'").fetchone()
            return int(count)

        side = Side(
            port=int(server.url.rpartition(":")[2]),
            path="/spaces/default/functions/bench/async-invoke",
            headers={"x-api-key": server.root_key},
            completed=completed,
        )
        try:
            yield server, side
        finally:
            database.close()


def _start_latencies_ms(server: Server) -> list[float]:
    """From the 202 at the client to the function's own clock, one call at a time; below zero when it was first."""
    latencies = []
    with server.client() as root:
        altair = Altair(root)
        for _ in range(_IDLE_CALLS):
            call_id = altair.start("clock")
            answered_ms = time.time() * 1000
            started_ms = float(altair.ended(call_id)["result"]["body"])
            latencies.append(started_ms - answered_ms)
    return latencies


# Restate.


@contextmanager
def restate(handler_file: str = "restate.mjs") -> Iterator[Side | None]:
    """Restate's server and a handler; None where its packages are not installed."""
    binary = _MODULES / ".bin" / "restate-server"
    if not binary.exists():
        print("Restate is not installed: its figures are left out")
        yield None
        return
    ingress, admin, fabric, handler, count = (_free_port() for _ in range(5))
    with tempfile.TemporaryDirectory(prefix="bench-restate-") as folder:
        script = Path(folder) / "handler.mjs"
        script.write_text(Path(__file__).with_name(handler_file).read_text())
        (Path(folder) / "node_modules").symlink_to(_MODULES.absolute())
        settings = {
            "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
            "RESTATE_BIND_ADDRESS": f"127.0.0.1:{fabric}",
            "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{fabric}",
            "RESTATE_LISTEN_MODE": "tcp",
            "RESTATE_DISABLE_TELEMETRY": "true",
        }
        log = (Path(folder) / "log").open("wb")
        quiet = {"stdout": log, "stderr": log, "stdin": subprocess.DEVNULL}
        started = [
            subprocess.Popen(
                [binary.absolute(), "--node-name=bench", f"--base-dir={folder}/data"],
                env={**os.environ, **settings},
                start_new_session=True,
                **quiet,
            ),
            subprocess.Popen(["node", script, str(handler), str(count)], start_new_session=True, **quiet),
        ]
        try:
            wait_until(lambda: _register(admin, handler), timeout_s=60, what="Restate")
            yield Side(
                port=ingress,
                path="/Bench/run/send",
                completed=lambda: int(httpx.get(f"http://127.0.0.1:{count}/", trust_env=False).text),
            )
        finally:
            for process in started:
                os.killpg(process.pid, 9)
                process.wait(10)
            log.close()


def _register(admin: int, handler: int) -> bool:
    try:
        reply = httpx.post(
            f"http://127.0.0.1:{admin}/deployments",
            json={"uri": f"http://127.0.0.1:{handler}"},
            timeout=10,
            trust_env=False,
        )
    except httpx.TransportError:
        return False
    return reply.is_success


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


# A deep queue.


async def _depth() -> Sequence[Figure]:
    """The store's own rates with an empty queue and with 100,000 jobs in it, over ten projects; in turn."""
    rates: dict[str, tuple[list[float], list[float]]] = {"empty queue": ([], []), "100,000 queued": ([], [])}
    with tempfile.TemporaryDirectory(prefix="bench-jobs-") as folder:
        databases = [Database(sqlite_url(Path(folder) / f"{name}.db")) for name in ("empty", "deep")]
        try:
            for database in databases:
                await database.open()
            for first in range(0, _DEEP, 1000):
                await databases[1].write(stored.insert_jobs, [_job(first + n) for n in range(1000)])
            for _ in range(_STORE_ROUNDS):
                for database, (accepts, claims) in zip(databases, rates.values(), strict=True):
                    await _store_rates(database, accepts, claims)
        finally:
            for database in databases:
                await database.close()
    return [
        single(f"{what} of 50, {depth}", "jobs/s", rates[depth][index])
        for index, what in enumerate(("accepts in batches", "claims in batches"))
        for depth in rates
    ]


async def _store_rates(database: Database, accepts: list[float], claims: list[float]) -> None:
    began = time.perf_counter()
    await database.write(stored.accept, [stored.Accepted(job=_job(n)) for n in range(50)])
    accepts.append(50 / (time.perf_counter() - began))
    wanted = Claim(kind=CALL, owner="bench", limit=50, now_ms=1, running={}, room=lambda _lane: 1_000_000)
    began = time.perf_counter()
    (found,) = await database.write(claim, [wanted])
    claims.append(len(found) / (time.perf_counter() - began))
    ended = [concluded(job, JobEvent.SUCCEEDED, 1, attempt=None) for job in found]
    await database.write(conclude, [Conclusion(outcome=Outcome(job=job), owner="bench", at_ms=1) for job in ended])


def _job(number: int) -> Job:
    project, function = ProjectId(f"p{number % 10}"), FunctionId(f"f{number % 10}")
    return Job(
        id=JobId(new_id()),
        kind=CALL,
        project_id=project,
        function_id=function,
        function_name="bench",
        lane=lane(project, function),
        target="/",
        payload=_CALLED,
        created_at_ms=0,
        due_at_ms=0,
        body=BODY,
    )
