"""Ends a module that takes all memory or processor time as it loads, or that waits without end.

The kernel's limit, and the guard, begin once the instance listens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from msgspec import Struct

from isolet.domain.limits import Limits
from isolet.errors import BuildFailed
from isolet.runtime.memory import address_space_bytes
from isolet.runtime.priority import Priority
from isolet.runtime.process import Child
from isolet.runtime.usage import anonymous_bytes, busy_seconds, cpu_seconds

_LOOK_EVERY_S = 0.05
# Of processor time, workerd itself takes some 0.05 s.
_OWN_START_S = 0.5
_STARVED_S = 120.0


class Progress(Struct, frozen=True, kw_only=True):
    """One look at a process that loads a module. `busy_s` tells how long its threads ran or waited for a processor."""

    elapsed_s: float
    cpu_s: float
    memory_bytes: int
    # Asked for only where it decides: it costs a file for each thread.
    busy_s: Callable[[], float]


def judge_loading(progress: Progress, limits: Limits, timeout_s: float) -> BuildFailed | None:
    """Why a module that still loads is given up; None while it may go on."""
    if progress.memory_bytes > address_space_bytes(limits):
        return too_much_memory(limits)
    if progress.cpu_s > cpu_max_s(limits):
        return BuildFailed(f"the code used more than its CPU time of {limits.cpu_ms} ms as it loaded")
    # It was idle that long, and not only short of a processor.
    if progress.elapsed_s > timeout_s + progress.cpu_s and progress.elapsed_s - progress.busy_s() > timeout_s:
        return too_slow(timeout_s)
    return None


async def watch(
    child: Child, priority: Priority, limits: Limits, timeout_s: float, *, on_memory: Callable[[int], None]
) -> BuildFailed:
    """Look at a child that loads a module until it must be given up; to be cancelled when it has loaded, or ended.

    `priority` is the one that the child got when it was spawned; `on_memory` hears how many bytes it holds.
    """
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        pid = child.pid
        if pid != priority.pid:
            # Bubblewrap may have started workerd before its own priority was lowered.
            priority = Priority(pid)
        progress = Progress(
            elapsed_s=loop.time() - began_s,
            cpu_s=cpu_seconds(pid),
            memory_bytes=anonymous_bytes(pid),
            busy_s=partial(busy_seconds, pid),
        )
        on_memory(progress.memory_bytes)
        failed = judge_loading(progress, limits, timeout_s)
        if failed is not None:
            return failed


def start_max_s(limits: Limits, timeout_s: float) -> float:
    """After so long a start fails in any case: what is watched ends it before that on a machine that is not starved."""
    return timeout_s + _STARVED_S + 10 * cpu_max_s(limits)


def cpu_max_s(limits: Limits) -> float:
    """What the module may use, and what workerd itself does before it."""
    return limits.cpu_ms / 1000 + _OWN_START_S


def too_slow(timeout_s: float) -> BuildFailed:
    return BuildFailed(f"the code did not load within {timeout_s:g} s")


def too_much_memory(limits: Limits) -> BuildFailed:
    return BuildFailed(f"the code exceeded its memory limit of {limits.memory_limit_mb} MB as it loaded")
