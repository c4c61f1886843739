"""How late due times are run, on a server whose other functions are called without a pause."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import httpx

from isolet.clock import parse_iso
from tests.bench.load import measure
from tests.bench.report import Figure, single
from tests.bench.sides import Target, deployed
from tests.support.clock import SetClock
from tests.support.kapso import Kapso
from tests.support.server import Server
from tests.support.waiting import wait_until

_ROUNDS = 8
_SCHEDULES = 10
# A server looks at least so often whether its clock was set.
_AHEAD_MS = 5_500
_CODE = "export default async (request) => new Response(await request.text());"


def run() -> Sequence[Figure]:
    with tempfile.TemporaryDirectory(prefix="isolet-bench-") as folder:
        clock = SetClock(Path(folder))
        with Server(Path(folder) / "data", clock=clock) as server, server.client() as client:
            function_id = Kapso(client).deployed(_CODE)
            url = f"/isolet/v1/functions/{function_id}/schedules"
            ids = [client.post(url, json={"cron": "* * * * *"}).json()["id"] for _ in range(_SCHEDULES)]
            quiet_ms = [late for _ in range(_ROUNDS) for late in _round(client, clock, ids)]
            stop = threading.Event()
            load = threading.Thread(target=_load, args=(server.process.pid, deployed(server), stop))
            load.start()
            try:
                busy_ms = [late for _ in range(_ROUNDS) for late in _round(client, clock, ids)]
            finally:
                stop.set()
                load.join()
    return [
        single("started after its due time, quiet", "ms", quiet_ms),
        Figure(name="the latest of them", unit="ms", isolet=max(quiet_ms)),
        single("started after its due time, under load", "ms", busy_ms),
        Figure(name="the latest of them under load", unit="ms", isolet=max(busy_ms)),
    ]


def _load(pid: int, target: Target, stop: threading.Event) -> None:
    while not stop.is_set():
        measure(target, pid, 2)


def _round(client: httpx.Client, clock: SetClock, ids: Sequence[str]) -> list[float]:
    """By how many milliseconds the calls of one due time began late."""
    due = clock.before_minute(_AHEAD_MS)
    return [wait_until(lambda one=one: _late(client, one, due)) or 0.0 for one in ids]  # type: ignore[misc]


def _late(client: httpx.Client, schedule_id: str, due: int) -> float | None:
    firings = client.get(f"/isolet/v1/schedules/{schedule_id}/firings", params={"limit": 1}).json()["data"]
    if not firings or parse_iso(firings[0]["due_at"]) != due or firings[0]["status"] != "succeeded":
        return None
    call = client.get(f"/isolet/v1/invocations/{firings[0]['invocation_id']}").json()
    return float(parse_iso(call["started_at"]) - due) if call.get("started_at") else None
