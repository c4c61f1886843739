"""Load by wrk, and the CPU time of a process tree."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import psutil
from msgspec import Struct

from tests.bench.sides import Target
from tests.support.waiting import wait_until

_CONNECTIONS = 16
_THREADS = 2
_QUIET_S = 0.2
_SCRIPT = Path(__file__).with_name("post.lua")


class Load(Struct, frozen=True, kw_only=True):
    """What one run of wrk saw, and what it cost the processes under load."""

    requests_per_s: float
    latency_p50_us: float
    latency_p99_us: float
    cpu_us_per_request: float


def measure(target: Target, pid: int, seconds: int, *, connections: int = _CONNECTIONS) -> Load:
    """Load `target`, which the tree below `pid` serves. Fails when any reply is not a success."""
    before = _quiet_cpu_s(pid)
    seen = _wrk(target, seconds, connections)
    after = _quiet_cpu_s(pid)
    if before.keys() - after.keys():
        raise AssertionError(f"processes went under load: {before.keys() - after.keys()}")
    return Load(
        requests_per_s=seen["requests"] / (seen["duration_us"] / 1e6),
        latency_p50_us=seen["p50_us"],
        latency_p99_us=seen["p99_us"],
        cpu_us_per_request=(sum(after.values()) - sum(before.values())) * 1e6 / seen["requests"],
    )


def _wrk(target: Target, seconds: int, connections: int) -> dict[str, float]:
    headers = [text for name, value in target.headers.items() for text in (name, value)]
    threads = min(_THREADS, connections)
    command = ["wrk", f"-c{connections}", f"-t{threads}", f"-d{seconds}s", "-s", str(_SCRIPT), target.url]
    command += ["--", target.body.decode(), *headers]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    if done.returncode != 0:
        raise AssertionError(f"wrk failed: {done.stderr or done.stdout}")
    seen: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    if seen["errors"] or not seen["requests"]:
        raise AssertionError(f"{target.url} did not answer every request well: {seen}")
    return seen


def _quiet_cpu_s(pid: int) -> dict[int, float]:
    """User and system time of each process of a tree, once it stopped working: records are written after replies."""

    def look() -> dict[int, float] | None:
        before = _cpu_s(pid)
        time.sleep(_QUIET_S)
        after = _cpu_s(pid)
        # A process that only waits still ticks now and then.
        return after if sum(after.values()) - sum(before.values()) <= 0.01 else None

    found = wait_until(look, timeout_s=30, what="an idle server")
    assert found is not None
    return found


def _cpu_s(pid: int) -> dict[int, float]:
    root = psutil.Process(pid)
    times = {process.pid: process.cpu_times() for process in (root, *root.children(recursive=True))}
    return {process: spent.user + spent.system for process, spent in times.items()}
