"""Calls at a steady rate while somebody else makes noise, beside those right before: what a neighbour notices."""

from __future__ import annotations

import http.client
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.synchronize import Event
from urllib.parse import urlsplit

from tests.bench.report import Figure, compared
from tests.bench.sides import ANSWER, BODY, Target

_ROUNDS = 3
_PER_S = 100
_QUIET_S = 2.0
_NOISY_S = 4.0
_TARGET = 2.0
_PACE_S = 0.05
_END_TIMEOUT_S = 120

# Prepares, and gives what is done again and again, in a process of its own.
Noise = AbstractContextManager[Callable[[], object]]


def measure(target: Target, noises: Iterable[tuple[str, Noise]]) -> Sequence[Figure]:
    """For each noise: the neighbour's 99th percentile during it, beside the one right before, so many times.

    Fails when the neighbour gets anything but its answer.
    """
    _p99_ms(target, _QUIET_S)
    figures, quiet = [], []
    for name, noise in noises:
        with noise as act:
            before, during = [], []
            for _ in range(_ROUNDS):
                before.append(_p99_ms(target, _QUIET_S))
                with _again_and_again(act):
                    during.append(_p99_ms(target, _NOISY_S))
        quiet += before
        figures.append(_beside(f"p99 of B during: {name}", during, before))
    afterwards = [_p99_ms(target, _QUIET_S) for _ in range(_ROUNDS)]
    return [*figures, _beside("p99 of B afterwards", afterwards, [statistics.median(quiet)] * _ROUNDS)]


def _beside(name: str, noisy_ms: Sequence[float], quiet_ms: Sequence[float]) -> Figure:
    return compared(name, "ms", isolet=noisy_ms, bare=quiet_ms, target=_TARGET, side="before")


@contextmanager
def _again_and_again(act: Callable[[], object]) -> Iterator[None]:
    forking = multiprocessing.get_context("fork")
    stop = forking.Event()
    noise = forking.Process(target=_act_until, args=(act, stop))
    noise.start()
    try:
        yield
    finally:
        stop.set()
        noise.join(_END_TIMEOUT_S)
        noise.kill()


def _act_until(act: Callable[[], object], stop: Event) -> None:
    """One act after the other. Those that fail at once are paced: a flood of requests is another matter."""
    while not stop.is_set():
        due = time.perf_counter() + _PACE_S
        act()
        stop.wait(max(due - time.perf_counter(), 0))


def _p99_ms(target: Target, seconds: float) -> float:
    """Calls on one connection. Latency counts from the time at which the call was due, where the one before it took
    until then; that this process wakes late is the machine's doing, not the server's.
    """
    parts = urlsplit(target.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    taken = []
    began = time.perf_counter()
    try:
        for number in range(int(seconds * _PER_S)):
            due = began + number / _PER_S
            if (rest_s := due - time.perf_counter()) > 0:
                time.sleep(rest_s)
                due = time.perf_counter()
            connection.request("POST", parts.path, BODY, target.headers)
            reply = connection.getresponse()
            if (reply.status, reply.read()) != (200, ANSWER):
                raise AssertionError(f"the neighbour was hit: {reply.status}")
            taken.append((time.perf_counter() - due) * 1000)
    finally:
        connection.close()
    return statistics.quantiles(taken, n=100)[98]
