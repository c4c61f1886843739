"""How much of a server's processor time its event loop takes: what runs beside it, in threads, holds up nobody.

A share does not depend on how fast the machine is, nor on what else runs there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path


def loop_share(pid: int, act: Callable[[], object]) -> float:
    """From 0 to 1, of the time that the server's threads ran while `act` did."""
    before = _ran_ns(pid)
    act()
    ran = {thread: ns - before.get(thread, 0) for thread, ns in _ran_ns(pid).items()}
    return ran[str(pid)] / sum(ran.values())


def _ran_ns(pid: int) -> dict[str, int]:
    """By thread; that of the loop has the number of the process."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found[task.name] = int((task / "schedstat").read_text().split()[0])
    return found
