"""The wall clock of forked servers, which a test sets: several servers may share it, and it may jump while they run."""

from __future__ import annotations

import mmap
import struct
import time
from pathlib import Path
from types import SimpleNamespace

from isolet import ids
from isolet.clock import SystemClock

VARIABLE = "TESTS_CLOCK"
_OFFSET = struct.Struct("=q")
_MINUTE_MS = 60_000


class SetClock:
    """Goes on from what it was set to. `Server(…, clock=…)` has it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "clock"
        self.path.write_bytes(_OFFSET.pack(0))
        self._map = _open(self.path)

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + int(_OFFSET.unpack_from(self._map)[0])

    def step(self, ms: int) -> None:
        _OFFSET.pack_into(self._map, 0, _OFFSET.unpack_from(self._map)[0] + ms)

    def before_minute(self, ms: int) -> int:
        """Set it to so many milliseconds before the next whole minute, which is returned."""
        now_ms = self.now_ms()
        minute = (now_ms // _MINUTE_MS + 1) * _MINUTE_MS
        if minute - now_ms < ms:
            minute += _MINUTE_MS
        self.step(minute - ms - now_ms)
        return minute


def install(path: str) -> None:
    """In a server: have its clock follow the one at this path."""
    shared = _open(Path(path))

    def now_ns() -> int:
        return time.time_ns() + int(_OFFSET.unpack_from(shared)[0]) * 1_000_000

    SystemClock.now_ms = lambda _: now_ns() // 1_000_000  # type: ignore[method-assign]
    # The time in ids is what calls are counted by.
    ids.time = SimpleNamespace(time_ns=now_ns)  # type: ignore[assignment]


def _open(path: Path) -> mmap.mmap:
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), _OFFSET.size)
