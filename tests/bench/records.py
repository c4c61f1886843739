"""A million stored calls: what each query takes at p95, and whether writing stays as quick as at the start."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from isolet.clock import SystemClock
from isolet.database.connection import Database
from isolet.database.engine import sqlite_url
from isolet.database.metrics import insert_ended
from isolet.domain.invocations import Door, Invocation, Outcome
from isolet.domain.metrics import Step, start_of
from isolet.domain.search import CallFilter, Status
from isolet.ids import FunctionId, InvocationId, ProjectId, new_id
from isolet.observe.call_history import CallHistory
from isolet.observe.recorder import Recorder
from isolet.observe.usage_stats import UsageStats
from tests.bench.report import Figure, single

_ROWS = int(os.environ.get("BENCH_RECORDS", "1000000"))
_BATCH = 500
_FUNCTIONS = 20
_SPAN_MS = 6 * 24 * 3600 * 1000
_TIMES = 60
_PROJECT = ProjectId(new_id())
_IDS = [FunctionId(new_id()) for _ in range(_FUNCTIONS)]


def run() -> Sequence[Figure]:
    return asyncio.run(_run())


async def _run() -> Sequence[Figure]:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        database = Database(sqlite_url(Path(folder) / "isolet.db"))
        await database.open()
        try:
            rates = await _fill(database)
            return [*rates, *await _ask(database)]
        finally:
            await database.close()


async def _fill(database: Database) -> list[Figure]:
    """Rows a second at the first tenth and at the last."""
    tenth, spent = _ROWS // 10, []
    rows = _calls()
    for _ in range(10):
        began = time.perf_counter()
        for _ in range(tenth // _BATCH):
            await database.write(insert_ended, [next(rows) for _ in range(_BATCH)])
        spent.append(tenth / (time.perf_counter() - began))
    return [
        single("rows written, first tenth", "rows/s", spent[:1]),
        single("rows written, last tenth", "rows/s", spent[-1:]),
    ]


def _calls() -> Iterator[Invocation]:
    """Evenly over some days up to now. Every 1,000th has failed, one in all of them strangely."""
    now = time.time_ns() // 1_000_000
    for number in range(_ROWS):
        at_ms = now - _SPAN_MS + number * _SPAN_MS // _ROWS
        stamp = f"{at_ms:012x}"
        failed = number % 1000 == 0
        yield Invocation(
            id=InvocationId(f"{stamp[:8]}-{stamp[8:]}-7{number & 0xFFF:03x}-8000-{number:012x}"),
            project_id=_PROJECT,
            function_id=_IDS[number % _FUNCTIONS],
            function_name="bench",
            version=1,
            door=Door.KAPSO,
            method="POST",
            path=f"/platform/v1/functions/{_IDS[number % _FUNCTIONS]}/invoke",
            started_at_ms=at_ms,
            status=500 if failed else 200,
            outcome=Outcome.HANDLER_FAILED if failed else Outcome.OK,
            error="strange" if number == 1000 else "Error: it broke" if failed else None,
            duration_us=1000 + number * 7919 % 50_000,
            request_body=b'{"name":"Ada"}',
            request_headers=b"host: 127.0.0.1:7878\ncontent-type: application/json\nx-api-key: [redacted]",
            response_body=b'{"hello":"Ada"}',
            response_bytes=15,
            memory_limit_mb=128,
        )


async def _ask(database: Database) -> list[Figure]:
    async def no_sizes(projects: Sequence[ProjectId]) -> Sequence[int]:
        return [0 for _ in projects]

    recorder = Recorder(database)
    records, metrics = CallHistory(database, recorder), UsageStats(database, recorder, SystemClock(), no_sizes)
    log = {"limit": 100, "after_ms": time.time_ns() // 1_000_000 - 60_000}
    month = start_of(Step.MONTH, time.time_ns() // 1_000_000)
    middle = time.time_ns() // 1_000_000 - _SPAN_MS // 2
    stamp = f"{middle:012x}"
    asked: dict[str, Callable[[], Awaitable[Any]]] = {}

    def find(name: str, **wanted: Any) -> None:
        asked[name] = lambda: records.find(CallFilter(project_id=_PROJECT, **wanted))

    find("list a project")
    find("list from the middle", before=f"{stamp[:8]}-{stamp[8:]}-7000-8000-000000000000")
    find("list a function", function_id=_IDS[3])
    find("status failed", status=Status.FAILED)
    find("status 4xx, of which there are none", status=Status.CLIENT_4XX)
    find("failed, of a function", function_id=_IDS[0], status=Status.FAILED)
    find("door, of which there are none", door=Door.ALTAIR)
    find("text, one in all", text="strange")
    find("text in the path", text=_IDS[5])
    find("an hour in the middle", since_ms=middle, until_ms=middle + 3_600_000)
    last = (await records.find(CallFilter(project_id=_PROJECT, limit=1))).calls[0].id
    asked["one call"] = lambda: records.get(last)
    asked["latest with errors"] = lambda: records.since(_IDS[0], limit=50, status=Status.FAULT)
    for window in ("1h", "24h", "7d", "30d", "all"):
        asked[f"metrics over {window}"] = lambda window=window: metrics.function(_IDS[3], window)  # type: ignore[misc]
    asked["log of a function"] = lambda: records.log(_IDS[0], limit=100)
    asked["log of its last minute"] = lambda: records.log(_IDS[0], **log)
    asked["log of its failures"] = lambda: records.log(_IDS[0], limit=100, failed=True)
    asked["what is new in its log"] = lambda: records.ids(_IDS[0], limit=20_000, after_ms=log["after_ms"])
    asked["summaries of twenty functions"] = lambda: metrics.summaries(_IDS)
    asked["totals of twenty functions"] = lambda: metrics.totals(_IDS)
    asked["usage of a month"] = lambda: metrics.usage([_PROJECT], month)
    return [single(f"p95: {name}", "ms", [await _p95_ms(ask)]) for name, ask in asked.items()]


async def _p95_ms(ask: Callable[[], Awaitable[Any]]) -> float:
    spent = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        await ask()
        spent.append((time.perf_counter() - began) * 1000)
    return statistics.quantiles(spent, n=20)[-1]
