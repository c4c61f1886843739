"""How much of a server's processor time its event loop takes: what runs beside it, in threads, holds up nobody.

A share does not depend on how fast the machine is, nor on what else runs there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import psutil


def loop_share(pid: int, act: Callable[[], object]) -> float:
    """From 0 to 1, of the time that the server's threads ran meanwhile, and programs of its own that have ended."""
    before = _ran_ns(pid)
    act()
    ran = {name: ns - before.get(name, 0) for name, ns in _ran_ns(pid).items()}
    return ran[str(pid)] / sum(ran.values())


def _ran_ns(pid: int) -> dict[str, int]:
    """By thread; that of the loop has the number of the process. Programs that have ended are one."""
    ended = psutil.Process(pid).cpu_times()
    found = {"ended": int((ended.children_user + ended.children_system) * 1e9)}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found[task.name] = int((task / "schedstat").read_text().split()[0])
    return found
