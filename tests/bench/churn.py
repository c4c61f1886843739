"""Functions come and go: what stays behind in the server after thousands of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import psutil
from msgspec import Struct

from tests.bench.report import Figure
from tests.bench.sides import isolet_server
from tests.support.kapso import Kapso
from tests.support.server import Server
from tests.support.waiting import wait_until

_CYCLES = 2000
_WARM_UP = 200
_SAMPLES = 20
_CODE = "async function handler() { return new Response('here'); }"


class Leak(Struct, frozen=True, kw_only=True):
    """What the cycles left: memory by a straight line through the samples, processes and descriptors by count.

    `late_bytes_per_cycle` looks at the second half alone: caches have filled by then, so what goes on growing leaks.
    """

    bytes_per_cycle: float
    late_bytes_per_cycle: float
    processes: int
    descriptors: int


def churn(server: Server, kapso: Kapso, cycles: int, *, warm_up: int) -> Leak:
    """Deploy, call and delete a function so many times, once as many as warm up have filled the server's caches."""
    for _ in range(warm_up):
        _cycle(kapso)
    process = psutil.Process(server.process.pid)
    before = _settled(server)
    memory = []
    each = max(cycles // _SAMPLES, 1)
    for number in range(cycles):
        _cycle(kapso)
        if number % each == 0:
            memory.append((number, process.memory_info().rss))
    after = _settled(server)
    return Leak(
        bytes_per_cycle=_slope(memory),
        late_bytes_per_cycle=_slope(memory[len(memory) // 2 :]),
        processes=after[0] - before[0],
        descriptors=after[1] - before[1],
    )


def _slope(memory: Sequence[tuple[int, int]]) -> float:
    slope, _ = statistics.linear_regression(*zip(*memory, strict=True))
    return slope


def _cycle(kapso: Kapso) -> None:
    function_id = kapso.deployed(_CODE)
    reply = kapso.invoke(function_id)
    if (reply.status_code, reply.text) != (200, "here"):
        raise AssertionError(f"a call failed: {reply.status_code} {reply.text}")
    if kapso.client.delete(f"/isolet/v1/functions/{function_id}").status_code != 204:
        raise AssertionError("a function could not be deleted")


def _settled(server: Server) -> tuple[int, int]:
    """Processes and descriptors, once the instances of deleted functions are gone and reaped."""

    def look() -> bool:
        try:
            lines = [process.cmdline() for process in server.children()]
        except psutil.NoSuchProcess:
            return False
        # A process that is ending has no command line any more. A project that sends nothing has no way out.
        http = [line for line in lines if any(part.startswith("--socket-fd=http=") for part in line)]
        return all(lines) and not http

    wait_until(look, timeout_s=30, what="the end of the deleted functions' instances")
    return len(server.children()), psutil.Process(server.process.pid).num_fds()


def run() -> Sequence[Figure]:
    with isolet_server() as server, server.client() as client:
        leak = churn(server, Kapso(client), _CYCLES, warm_up=_WARM_UP)
    rounds = {"cycles": [_CYCLES]}
    return [
        Figure(name="memory that a cycle leaves", unit="bytes", isolet=leak.bytes_per_cycle, rounds=rounds),
        Figure(name="of it, second half", unit="bytes", isolet=leak.late_bytes_per_cycle, rounds=rounds),
        Figure(name="processes left", unit="", isolet=leak.processes, rounds=rounds),
        Figure(name="descriptors left", unit="", isolet=leak.descriptors, rounds=rounds),
    ]
