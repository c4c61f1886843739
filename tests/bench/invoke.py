"""Calls of a warm function: CPU time per request over the whole process tree, and throughput."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.load import measure
from tests.bench.report import Figure, compared
from tests.bench.sides import BareWorkerd, deployed, isolet_server

_ROUNDS = 5
_SECONDS = 3
_WARM_UP_S = 1
# Design aims at 2.0; the first version may cost 20 % more.
_TARGET = 2.4


def run() -> Sequence[Figure]:
    ours, theirs = [], []
    with isolet_server() as server, BareWorkerd() as bare:
        sides = ((deployed(server), server.process.pid, ours), (bare.target, bare.process.pid, theirs))
        for target, pid, _ in sides:
            target.call()
            measure(target, pid, _WARM_UP_S)
        for _ in range(_ROUNDS):
            for target, pid, rounds in sides:
                rounds.append(measure(target, pid, _SECONDS))
    return [
        compared(
            name,
            unit,
            isolet=[getattr(load, field) for load in ours],
            bare=[getattr(load, field) for load in theirs],
            target=target,
        )
        for name, unit, field, target in (
            ("CPU per request", "µs", "cpu_us_per_request", _TARGET),
            ("throughput", "requests/s", "requests_per_s", None),
            ("latency, median", "µs", "latency_p50_us", None),
            ("latency, 99th percentile", "µs", "latency_p99_us", None),
        )
    ]
