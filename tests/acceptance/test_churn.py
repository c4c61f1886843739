"""Functions that come and go leave nothing behind."""

from __future__ import annotations

from pathlib import Path

from tests.bench.churn import churn
from tests.support.kapso import Kapso
from tests.support.server import Server


def test_functions_that_come_and_go_leave_neither_processes_nor_descriptors(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server, server.client() as client:
        # What the first cycles load stays.
        leak = churn(server, Kapso(client), 30, warm_up=15)
    assert leak.processes <= 0
    # A connection of the store that opens late has up to three, another one of the client one. What every cycle left
    # would be thirty.
    assert leak.descriptors < 10
    assert leak.bytes_per_cycle < 60_000
