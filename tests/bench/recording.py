"""What recording a call costs: CPU of all threads, from the end of the call to its row, roll-ups and counts on disk."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from isolet.database.connection import Database
from isolet.database.engine import sqlite_url
from isolet.domain.invocations import Door, Invocation
from isolet.ids import FunctionId, InvocationId, ProjectId, new_id
from isolet.observe.recorder import Recorder
from isolet.observe.redaction import Redaction
from isolet.tasks import Tasks
from tests.bench.report import Figure, single

_ROUNDS = 7
_CALLS = 5_000
_HEADERS = [
    (b"host", b"127.0.0.1:7878"),
    (b"content-type", b"application/json"),
    (b"content-length", b"14"),
    (b"x-api-key", b"isk_0123456789abcdef0123456789abcdef0123456789a"),
]
_PROJECT, _FUNCTION = ProjectId(new_id()), FunctionId(new_id())


def run() -> Sequence[Figure]:
    return asyncio.run(_run())


async def _run() -> Sequence[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        database, tasks = Database(sqlite_url(Path(folder) / "isolet.db")), Tasks()
        await database.open()
        recorder, recording = Recorder(database), Redaction("root-key-of-the-bench")
        tasks.loop(recorder.run(), name="recorder")
        try:
            costs = [await _cost_us(recorder, recording) for _ in range(_ROUNDS + 1)][1:]
            hook = [_hook_us(recording) for _ in range(_ROUNDS)]
        finally:
            await tasks.close()
            await database.close()
    return [
        single("recording, in all", "µs CPU/call", costs),
        single("of it, headers on the call's path", "µs CPU/call", hook),
    ]


async def _cost_us(recorder: Recorder, recording: Redaction) -> float:
    calls = [_call() for _ in range(_CALLS)]
    began = time.process_time()
    for number, call in enumerate(calls):
        recorder.begin(call)
        call.request_headers = recording.headers(_HEADERS)
        recorder.end(call)
        if number % 500 == 499:
            await recorder.flush(30)
    return (time.process_time() - began) / _CALLS * 1e6


def _hook_us(recording: Redaction) -> float:
    began = time.process_time()
    for _ in range(_CALLS):
        recording.headers(_HEADERS)
    return (time.process_time() - began) / _CALLS * 1e6


def _call() -> Invocation:
    return Invocation(
        id=InvocationId(new_id()),
        project_id=_PROJECT,
        function_id=_FUNCTION,
        function_name="bench",
        version=1,
        door=Door.KAPSO,
        method="POST",
        path="/platform/v1/functions/x/invoke",
        started_at_ms=time.time_ns() // 1_000_000,
        status=200,
        duration_us=1500,
        request_body=b'{"name":"Ada"}',
        response_body=b'{"hello":"Ada"}',
        memory_limit_mb=128,
    )
