"""Noisy neighbours: what one function's calls take while another one does its worst."""

from __future__ import annotations

import http.client
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.acceptance.test_limits import BAD, SHAPE
from tests.bench.report import Figure, compared
from tests.bench.sides import ANSWER, BODY, Target, deployed, isolet_server
from tests.support.kapso import Kapso
from tests.support.limits import limited

_ROUNDS = 3
_PER_S = 100
_QUIET_S = 3.0
_NOISY_S = 5.0
_TARGET = 2.0
_TIMEOUT_MS = 5000
_PACE_S = 0.05


def run() -> Sequence[Figure]:
    """For each bad function: B's 99th percentile during it, beside the one right before, so many times."""
    figures = []
    with isolet_server() as server, server.client() as client:
        target, kapso = deployed(server), Kapso(client)
        _p99_ms(target, _QUIET_S)
        quiet: list[float] = []
        for name, bad in BAD.items():
            function_id = limited(kapso, SHAPE % bad.code, timeout_ms=_TIMEOUT_MS)
            before, during = [], []
            for _ in range(_ROUNDS):
                before.append(_p99_ms(target, _QUIET_S))
                with _noise(kapso, function_id):
                    during.append(_p99_ms(target, _NOISY_S))
            quiet += before
            figures.append(_compared(f"p99 of B during: {name}", during, before))
        afterwards = [_p99_ms(target, _QUIET_S) for _ in range(_ROUNDS)]
        figures.append(_compared("p99 of B afterwards", afterwards, [statistics.median(quiet)] * _ROUNDS))
    return figures


def _compared(name: str, noisy_ms: Sequence[float], quiet_ms: Sequence[float]) -> Figure:
    return compared(name, "ms", isolet=noisy_ms, bare=quiet_ms, target=_TARGET, side="before")


@contextmanager
def _noise(kapso: Kapso, function_id: str) -> Iterator[None]:
    stop = threading.Event()
    noise = threading.Thread(target=_call_until, args=(kapso, function_id, stop))
    noise.start()
    try:
        yield
    finally:
        stop.set()
        noise.join(60)


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
