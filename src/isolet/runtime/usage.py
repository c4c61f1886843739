"""What a process uses, as the kernel counts it."""

from __future__ import annotations

import os
import time
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_CPUCLOCK_SCHED = 2


def cpu_seconds(pid: int) -> float:
    """User and system time so far, of all threads; 0 for a process that is gone."""
    try:
        # The CPU clock of another process, as clock_getcpuclockid(3) names it: one system call, in nanoseconds.
        return time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)
    except OSError:
        return 0.0


def anonymous_bytes(pid: int) -> int:
    """Resident memory that is its own: heap, buffers, stacks. 0 for a process that is gone."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_bytes().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # Resident less what is backed by files and shared memory.
    return (int(fields[1]) - int(fields[2])) * _PAGE_BYTES


def data_bytes(pid: int) -> int:
    """Private writable address space, as RLIMIT_DATA counts it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = next((line for line in status.splitlines() if line.startswith("VmData:")), "VmData: 0")
    return int(found.split()[1]) * 1024
