"""What a process uses, as the kernel counts it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Self

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_CPUCLOCK_SCHED = 2
_STATM_MAX_BYTES = 256
# Stopped, by a tracer too, and dead.
_STOPPED = frozenset("TtZX")
_ENDED = frozenset("ZX")
# Of /proc/PID/stat, behind the state.
_FLAGS = 5
_PF_EXITING = 0x4


def cpu_seconds(pid: int) -> float:
    """User and system time so far, of all threads; 0 for a process that is gone."""
    try:
        # The CPU clock of another process, as clock_getcpuclockid(3) names it: one system call, in nanoseconds.
        return time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)
    except OSError:
        return 0.0


def busy_seconds(pid: int) -> float:
    """How long its threads have run, or waited for a processor, together; 0 for a process that is gone."""
    total = 0
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            ran, waited, _ = (thread / "schedstat").read_text().split()
            total += int(ran) + int(waited)
    except (OSError, ValueError):
        # Gone, or a kernel that does not tell.
        return cpu_seconds(pid)
    return total / 1e9


def anonymous_bytes(pid: int) -> int:
    """Resident memory that is its own: heap, buffers, stacks. 0 for a process that is gone."""
    with MemoryGauge(pid) as gauge:
        return gauge.anonymous_bytes


def stands_still(pid: int) -> bool:
    """Whether every thread is stopped: each ends first what it does in the kernel, such as a write."""
    try:
        threads = [(thread / "stat").read_text() for thread in Path(f"/proc/{pid}/task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return all(stat.rpartition(")")[2].split()[0] in _STOPPED for stat in threads)


def is_ending(pid: int) -> bool:
    """Whether its first thread has ended, or ends: it does nothing more, but others may still hold its sockets open."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in _ENDED or bool(int(fields[_FLAGS]) & _PF_EXITING)


class MemoryGauge:
    """What one process holds, for those who look often: the kernel's file stays open, a look is one system call."""

    __slots__ = ("_fd",)

    def __init__(self, pid: int) -> None:
        try:
            self._fd = os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, ProcessLookupError):
            self._fd = -1

    @property
    def anonymous_bytes(self) -> int:
        """Like the function of this name."""
        if self._fd < 0:
            return 0
        try:
            fields = os.pread(self._fd, _STATM_MAX_BYTES, 0).split()
        except ProcessLookupError:
            return 0
        # Resident less what is backed by files and shared memory.
        return (int(fields[1]) - int(fields[2])) * _PAGE_BYTES if fields else 0

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def data_bytes(pid: int) -> int:
    """Private writable address space, as RLIMIT_DATA counts it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = next((line for line in status.splitlines() if line.startswith("VmData:")), "VmData: 0")
    return int(found.split()[1]) * 1024
