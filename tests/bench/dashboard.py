"""The pages of the dashboard over 1,000 functions and a million calls: what each takes at p95, to its last byte."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import httpx

from isolet.database.connection import Database
from isolet.database.engine import sqlite_url
from isolet.database.functions import insert_function
from isolet.database.metrics import insert_ended
from isolet.domain.functions import Function, ResponseMode
from isolet.domain.invocations import Door, Invocation, Outcome
from isolet.ids import FunctionId, InvocationId, ProjectId, new_id
from tests.bench.report import Figure, single
from tests.support.server import ROOT_KEY, Server

_ROWS = int(os.environ.get("BENCH_RECORDS", "1000000"))
_FUNCTIONS = int(os.environ.get("BENCH_FUNCTIONS", "1000"))
_BATCH = 500
_SPAN_MS = 3 * 24 * 3600 * 1000
_TIMES = 60


def run() -> Sequence[Figure]:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        data = Path(name) / "data"
        with Server(data) as server, server.client() as root:
            project_id = ProjectId(root.get("/isolet/v1/projects/default").json()["id"])
        ids = [FunctionId(new_id()) for _ in range(_FUNCTIONS)]
        asyncio.run(_fill(data, project_id, ids))
        with Server(data) as server:
            return _measure(server, ids)


async def _fill(data: Path, project_id: ProjectId, ids: Sequence[FunctionId]) -> None:
    database = Database(sqlite_url(data / "isolet.db"))
    await database.open()
    try:
        now = time.time_ns() // 1_000_000
        for number, id_ in enumerate(ids):
            function = Function(
                id=id_,
                project_id=project_id,
                name=f"function {number}",
                slug=f"function-{number}",
                code="",
                response_mode=ResponseMode.PASSTHROUGH,
                created_by_id=None,
                created_at_ms=now,
                updated_at_ms=now,
            )
            await database.write(insert_function, function)
        rows = _calls(project_id, ids, now)
        for _ in range(_ROWS // _BATCH):
            await database.write(insert_ended, [next(rows) for _ in range(_BATCH)])
    finally:
        await database.close()


def _calls(project_id: ProjectId, ids: Sequence[FunctionId], now: int) -> Iterator[Invocation]:
    call = Invocation(
        id=InvocationId(""),
        project_id=project_id,
        function_id=ids[0],
        function_name="bench",
        version=1,
        door=Door.PUBLIC,
        method="POST",
        path="/f/default/function",
        started_at_ms=now,
        status=200,
        outcome=Outcome.OK,
        duration_us=1000,
        request_body=b'{"name":"Ada"}',
        request_headers=b"content-type: application/json",
        response_body=b'{"hello":"Ada"}',
        response_bytes=15,
        memory_limit_mb=128,
    )
    for number in range(_ROWS):
        at_ms = now - _SPAN_MS + number * _SPAN_MS // _ROWS
        stamp = f"{at_ms:012x}"
        yield replace(
            call,
            id=InvocationId(f"{stamp[:8]}-{stamp[8:]}-7{number & 0xFFF:03x}-8000-{number:012x}"),
            function_id=ids[number % len(ids)],
            started_at_ms=at_ms,
            status=500 if number % 100 == 0 else 200,
            duration_us=1000 + number * 7919 % 50_000,
        )


def _measure(server: Server, ids: Sequence[FunctionId]) -> list[Figure]:
    here = "/dashboard/projects/default/functions"
    one = f"{here}/{ids[3]}"
    pages = {
        "functions": here,
        "functions, page in the middle": f"{here}?cursor={ids[len(ids) // 2]}",
        "functions, searched": f"{here}?q=99",
        "code": f"{one}/code",
        "invocations": f"{one}/invocations",
        "invocations that failed": f"{one}/invocations?status=failed",
        "metrics": f"{one}/metrics",
        "versions": f"{one}/versions",
        "triggers": f"{one}/triggers",
        "projects": "/dashboard/projects",
    }
    with httpx.Client(base_url=server.pages_url, trust_env=False, timeout=60) as client:
        client.post("/dashboard/login", data={"key": ROOT_KEY}, headers={"Origin": server.pages_url})
        return [single(f"p95: {name}", "ms", [_p95_ms(client, path)]) for name, path in pages.items()]


def _p95_ms(client: httpx.Client, path: str) -> float:
    spent = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        reply = client.get(path)
        spent.append((time.perf_counter() - began) * 1000)
        assert reply.status_code == 200, (path, reply.status_code)
    return statistics.quantiles(spent, n=20)[-1]
