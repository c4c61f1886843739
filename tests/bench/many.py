"""A hundred functions called in turn, beside one function called as often."""

from __future__ import annotations

import http.client
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from tests.bench.report import Figure, compared
from tests.bench.sides import ANSWER, BODY, Target, deployed, isolet_server

_FUNCTIONS = 100
_CALLS = 1000
_ROUNDS = 3
_TARGET = 0.9


def run() -> Sequence[Figure]:
    with isolet_server() as server:
        targets = [deployed(server) for _ in range(_FUNCTIONS)]
        _calls_per_s(targets, _FUNCTIONS)
        one, many = [], []
        for _ in range(_ROUNDS):
            one.append(_calls_per_s(targets[:1], _CALLS))
            many.append(_calls_per_s(targets, _CALLS))
    name, unit = "100 functions in turn", "requests/s"
    return [compared(name, unit, isolet=many, bare=one, target=_TARGET, side="one function", more_is_better=True)]


def _calls_per_s(targets: Sequence[Target], count: int) -> float:
    parts = urlsplit(targets[0].url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    began = time.perf_counter()
    try:
        for number in range(count):
            target = targets[number % len(targets)]
            connection.request("POST", urlsplit(target.url).path, BODY, target.headers)
            reply = connection.getresponse()
            if (reply.status, reply.read()) != (200, ANSWER):
                raise AssertionError(f"a call failed: {reply.status}")
    finally:
        connection.close()
    return count / (time.perf_counter() - began)
