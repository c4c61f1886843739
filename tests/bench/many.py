"""A hundred functions called in turn, beside one function called as often."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Self
from urllib.parse import urlsplit

from tests.bench.report import Figure, compared
from tests.bench.sides import ANSWER, BODY, BareWorkerd, Target, deployed, isolet_server

_FUNCTIONS = 100
_CALLS = 1000
_ROUNDS = 3
_TARGET = 0.9


def run() -> Sequence[Figure]:
    with isolet_server() as server:
        ours = _compared("100 functions in turn", [deployed(server) for _ in range(_FUNCTIONS)], target=_TARGET)
    with ExitStack() as stack:
        bare = [stack.enter_context(BareWorkerd()).target for _ in range(_FUNCTIONS)]
        # A process that rested is slower, whoever calls it: what no server can do better.
        return [ours, _compared("100 processes of bare workerd in turn", bare, target=None)]


def _compared(name: str, targets: Sequence[Target], *, target: float | None) -> Figure:
    """All in turn, beside the first alone."""
    with Connections() as connections:
        callers = [partial(connections.call, target) for target in targets]
        _calls_per_s(callers, _FUNCTIONS)
        one, many = [], []
        for _ in range(_ROUNDS):
            one.append(_calls_per_s(callers[:1], _CALLS))
            many.append(_calls_per_s(callers, _CALLS))
    return compared(name, "requests/s", isolet=many, bare=one, target=target, side="one", more_is_better=True)


class Connections:
    """One to each server, for all targets there."""

    def __init__(self) -> None:
        self._open: dict[str, http.client.HTTPConnection] = {}

    def call(self, target: Target) -> None:
        parts = urlsplit(target.url)
        connection = self._open.get(parts.netloc)
        if connection is None:
            connection = self._open[parts.netloc] = http.client.HTTPConnection(parts.netloc, timeout=30)
        connection.request("POST", parts.path or "/", BODY, target.headers)
        reply = connection.getresponse()
        if (reply.status, reply.read()) != (200, ANSWER):
            raise AssertionError(f"a call failed: {reply.status}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._open.values():
            connection.close()


def _calls_per_s(callers: Sequence[Callable[[], None]], count: int) -> float:
    began = time.perf_counter()
    for number in range(count):
        callers[number % len(callers)]()
    return count / (time.perf_counter() - began)
