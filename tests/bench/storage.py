"""KV and SQL from a function: operations a second on 16 connections, latency on one, beside miniflare."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from tests.bench.load import Load, measure
from tests.bench.report import Figure, compared
from tests.bench.sides import Target, isolet_server
from tests.support.kapso import Kapso

_FUNCTION = Path(__file__).with_suffix(".js")
_SCRIPT = Path(__file__).with_name("miniflare.mjs")
_MODULES = Path(__file__).parents[2] / "node_modules"
_OPERATIONS = {"get": "KV get", "put": "KV put", "select": "SQL select", "insert": "SQL insert"}
_ROUNDS = 3
_SECONDS = 2
_MANY = 16


class _Side(Struct, frozen=True, kw_only=True):
    """A process tree below `pid` that serves the function."""

    target: Target
    pid: int

    def does(self, operation: str) -> Target:
        return replace(self.target, body=b'{"operation": "%b"}' % operation.encode(), answer=b'"done"')


def run() -> Sequence[Figure]:
    figures = []
    with _isolet() as ours, _miniflare() as theirs:
        for side in (ours, theirs):
            side.does("prepare").call()
        for operation, name in _OPERATIONS.items():
            for connections in (_MANY, 1):
                loads = _measure(ours, theirs, operation, connections)
                figures += _figures(name, connections, *loads)
    return figures


def _measure(ours: _Side, theirs: _Side, operation: str, connections: int) -> tuple[list[Load], list[Load]]:
    loads: tuple[list[Load], list[Load]] = ([], [])
    for side in (ours, theirs):
        measure(side.does(operation), side.pid, 1, connections=connections)
    for _ in range(_ROUNDS):
        for side, rounds in zip((ours, theirs), loads, strict=True):
            rounds.append(measure(side.does(operation), side.pid, _SECONDS, connections=connections))
    return loads


def _figures(name: str, connections: int, ours: Sequence[Load], theirs: Sequence[Load]) -> Sequence[Figure]:
    def beside(what: str, unit: str, field: str, *, more_is_better: bool = False) -> Figure:
        return compared(
            f"{name}, {what}",
            unit,
            isolet=[getattr(load, field) for load in ours],
            bare=[getattr(load, field) for load in theirs],
            side="miniflare",
            target=1.0,
            more_is_better=more_is_better,
        )

    if connections == 1:
        return [beside("latency alone", "µs", "latency_p50_us")]
    return [
        beside(f"{connections} connections", "operations/s", "requests_per_s", more_is_better=True),
        beside("CPU", "µs", "cpu_us_per_request"),
    ]


@contextmanager
def _isolet() -> Iterator[_Side]:
    with isolet_server() as server, server.client() as client:
        function_id = Kapso(client).deployed(_FUNCTION.read_text(), name="Storage")
        url = f"{server.url}/platform/v1/functions/{function_id}/invoke"
        yield _Side(target=Target(url=url, key=server.root_key), pid=server.process.pid)


@contextmanager
def _miniflare() -> Iterator[_Side]:
    """The script stands beside the modules, because that is where Node looks for them."""
    with tempfile.TemporaryDirectory(prefix="isolet-bench-") as folder:
        os.symlink(_MODULES, Path(folder, "node_modules"))
        script = shutil.copy(_SCRIPT, folder)
        process = subprocess.Popen(
            ["node", "--preserve-symlinks-main", script, str(_FUNCTION), folder], stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if not url:
                raise AssertionError(f"miniflare ended with {process.wait(10)}")
            yield _Side(target=Target(url=url), pid=process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
