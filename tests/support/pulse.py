"""How long a server holds up its health check while something else happens, less what other processes take from it.

The kernel tells how long threads were ready to run and waited for a processor. That time is not the server's: it is
taken off, so that what is left does not depend on what else the machine does.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from msgspec import Struct, field

_EVERY_MS = 10.0
_PATIENCE_S = 120


class Pulse(Struct):
    """A context manager around what happens; then `held_ms` has an entry for each check that was due meanwhile."""

    url: str
    pid: int
    held_ms: list[float] = field(default_factory=list)
    _process: subprocess.Popen[str] | None = None

    @property
    def p99_ms(self) -> float:
        return statistics.quantiles(self.held_ms, n=100)[98]

    def __enter__(self) -> Self:
        # In a process of its own, so that the test's other threads do not hold it up.
        command = [sys.executable, "-m", "tests.support.pulse", self.url, str(self.pid)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        told, _ = self._process.communicate(timeout=2 * _PATIENCE_S)
        if error is None:
            self.held_ms = [due for held in json.loads(told) for due in _all_due(held)]


def _all_due(held_ms: float) -> list[float]:
    """A check that was held up, and those that were due meanwhile and would have waited for the rest of that time."""
    return [held_ms - number * _EVERY_MS for number in range(max(math.ceil(held_ms / _EVERY_MS), 1))]


def _main(url: str, pid: int) -> None:
    """Ask until standard input ends."""
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set())).start()
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=_PATIENCE_S)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    held = []
    while not stop.wait(_EVERY_MS / 1000):
        waited_ms, began = _waited_ms(pid), time.perf_counter()
        connection.request("GET", parts.path)
        reply = connection.getresponse()
        if reply.status != 200:
            raise AssertionError(f"{url} answered {reply.status}")
        reply.read()
        taken_ms = (time.perf_counter() - began) * 1000
        held.append(taken_ms - (_waited_ms(pid) - waited_ms))
    sys.stdout.write(json.dumps(held))


def _waited_ms(pid: int) -> float:
    """How long the threads of the server and this one waited for a processor, all together, since each began."""
    waited_ns = 0
    for thread in [*Path(f"/proc/{pid}/task").iterdir(), Path("/proc/thread-self")]:
        with contextlib.suppress(OSError):
            waited_ns += int((thread / "schedstat").read_text().split()[1])
    return waited_ns / 1e6


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
