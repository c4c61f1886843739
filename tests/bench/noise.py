"""Noisy neighbours: what one function's calls take while another one does its worst."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial

from tests.acceptance.test_limits import BAD, SHAPE
from tests.bench.report import Figure
from tests.bench.sides import deployed, isolet_server
from tests.bench.steady import Noise, measure
from tests.support.kapso import Kapso
from tests.support.limits import limited

_TIMEOUT_MS = 5000


def run() -> Sequence[Figure]:
    with isolet_server() as server, server.client() as client:
        return measure(deployed(server), _noises(Kapso(client)))


def _noises(kapso: Kapso) -> Iterator[tuple[str, Noise]]:
    for name, bad in BAD.items():
        function_id = limited(kapso, SHAPE % bad.code, timeout_ms=_TIMEOUT_MS)
        yield name, nullcontext(partial(kapso.invoke, function_id))
