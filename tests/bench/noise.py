"""Noisy neighbours: what one function's calls take while another one does its worst."""

from __future__ import annotations

import http.client
import statistics
import threading
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from tests.acceptance.test_limits import BAD, SHAPE
from tests.bench.report import Figure, compared
from tests.bench.sides import ANSWER, BODY, Target, deployed, isolet_server
from tests.support.kapso import Kapso
from tests.support.limits import limited

_PER_S = 100
_QUIET_S = 3.0
_NOISY_S = 5.0
_TARGET = 2.0
_TIMEOUT_MS = 5000
_PACE_S = 0.05


def run() -> Sequence[Figure]:
    """For each bad function: B's 99th percentile during it, beside the one right before."""
    figures = []
    with isolet_server() as server, server.client() as client:
        target, kapso = deployed(server), Kapso(client)
        _p99_ms(target, _QUIET_S)
        before: list[float] = []
        for name, bad in BAD.items():
            function_id = limited(kapso, SHAPE % bad.code, timeout_ms=_TIMEOUT_MS)
            before.append(_p99_ms(target, _QUIET_S))
            stop = threading.Event()
            noise = threading.Thread(target=_call_until, args=(kapso, function_id, stop))
            noise.start()
            during = _p99_ms(target, _NOISY_S)
            stop.set()
            noise.join(60)
            figures.append(_compared(f"p99 of B during: {name}", during, before[-1]))
        figures.append(_compared("p99 of B afterwards", _p99_ms(target, _QUIET_S), statistics.median(before)))
    return figures


def _compared(name: str, noisy_ms: float, quiet_ms: float) -> Figure:
    return compared(name, "ms", isolet=[noisy_ms], bare=[quiet_ms], target=_TARGET, side="before")


def _call_until(kapso: Kapso, function_id: str, stop: threading.Event) -> None:
    """One call after the other. Those that fail at once are paced: a flood is another matter than a bad function."""
    while not stop.is_set():
        due = time.perf_counter() + _PACE_S
        kapso.invoke(function_id)
        stop.wait(max(due - time.perf_counter(), 0))


def _p99_ms(target: Target, seconds: float) -> float:
    """Calls at a steady rate on one connection; latency counts from the time at which the call was due."""
    parts = urlsplit(target.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    taken = []
    began = time.perf_counter()
    try:
        for number in range(int(seconds * _PER_S)):
            due = began + number / _PER_S
            time.sleep(max(due - time.perf_counter(), 0))
            connection.request("POST", parts.path, BODY, target.headers)
            reply = connection.getresponse()
            if (reply.status, reply.read()) != (200, ANSWER):
                raise AssertionError(f"the neighbour was hit: {reply.status}")
            taken.append((time.perf_counter() - due) * 1000)
    finally:
        connection.close()
    return statistics.quantiles(taken, n=100)[98]
