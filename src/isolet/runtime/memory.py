"""The memory of one instance: what it took to start, what it holds, and how much the kernel lets it have."""

from __future__ import annotations

from isolet.domain.limits import Limits
from isolet.runtime.usage import MemoryGauge

# The kernel's own limit stands behind the one that is watched: it counts address space, so it leaves more room.
_ADDRESS_SLACK_BYTES = 256 * 1024 * 1024
# A cgroup counts what the program itself takes, too, and pages of files that it was the first to read.
_CGROUP_SLACK_BYTES = 192 * 1024 * 1024
_MEASURE_EVERY_S = 0.05
_MB = 1024 * 1024


def address_space_bytes(limits: Limits) -> int:
    """By how much private address space may grow once the process listens."""
    return 2 * limits.memory_limit_mb * _MB + _ADDRESS_SLACK_BYTES


def cgroup_bytes(limits: Limits) -> int:
    """What a cgroup of the process may hold."""
    return limits.memory_limit_mb * _MB + _CGROUP_SLACK_BYTES


class Memory:
    """Private resident memory in bytes: `base` when the instance had started, 0 before; `used` what was seen beyond."""

    __slots__ = ("_gauge", "_measured_at_s", "_measured_bytes", "base_bytes", "peak_bytes", "used_bytes")

    def __init__(self) -> None:
        self._gauge: MemoryGauge | None = None
        self._measured_at_s = 0.0
        self._measured_bytes = 0
        self.base_bytes = 0
        self.used_bytes = 0
        self.peak_bytes = 0

    def loading(self, seen_bytes: int) -> None:
        """What a process holds that has not started yet."""
        self.used_bytes = seen_bytes

    def started(self, pid: int) -> None:
        """From now on the process is measured."""
        self._gauge = MemoryGauge(pid)
        self.base_bytes, self.used_bytes = self.now_bytes, 0

    @property
    def now_bytes(self) -> int:
        """All of it now; 0 before the instance has started, and once it is gone."""
        return self._gauge.anonymous_bytes if self._gauge is not None else 0

    @property
    def held_bytes(self) -> int:
        """All of it when the guard looked last."""
        return self.base_bytes + self.used_bytes

    def look(self) -> int:
        """What it holds beyond its base now, less than 0 where it holds less; kept as `used_bytes`."""
        used = self.now_bytes - self.base_bytes
        self.used_bytes = max(used, 0)
        self.peak_bytes = max(self.peak_bytes, used)
        return used

    def recent(self, now_s: float) -> int:
        """All of it, looked at anew at most every 50 ms, so that a call costs nothing."""
        if now_s - self._measured_at_s > _MEASURE_EVERY_S:
            self._measured_at_s = now_s
            self._measured_bytes = self.now_bytes or self.base_bytes + self.peak_bytes
        return self._measured_bytes

    def close(self) -> None:
        if self._gauge is not None:
            self._gauge.close()
