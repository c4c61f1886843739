"""From no process to the first answer, as a client sees it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tests.bench.report import Figure, compared
from tests.bench.sides import BareWorkerd, Target, deployed, isolet_server
from tests.support.waiting import wait_until

_ROUNDS = 21
_TARGET = 2.0


def run() -> Sequence[Figure]:
    ours, theirs = [], []
    # An instance stops soon after its call, so that the next one finds none; it must have longer than a start takes.
    with isolet_server(idle_timeout_s=0.5) as server:
        platform = {child.pid for child in server.children()}
        target = deployed(server)
        for _ in range(_ROUNDS):
            wait_until(
                lambda: {child.pid for child in server.children()} == platform, what="the end of the idle instance"
            )
            ours.append(_call_ms(target))
            theirs.append(_bare_ms())
    return [compared("first answer", "ms", isolet=ours, bare=theirs, target=_TARGET)]


def _call_ms(target: Target) -> float:
    began = time.perf_counter()
    target.call()
    return (time.perf_counter() - began) * 1000


def _bare_ms() -> float:
    began = time.perf_counter()
    with BareWorkerd() as bare:
        bare.target.call()
        return (time.perf_counter() - began) * 1000
