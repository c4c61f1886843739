"""A cgroup for each instance, where this server may make them: the kernel itself then ends what grows too large.

Only cgroup v2 with a delegated memory controller will do, as under systemd's `Delegate=yes`. Everywhere else instances
are only watched from outside (`guard.py`), which is what holds the limit there as here; a cgroup stands behind it for
what grows faster than anyone looks.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from isolet.telemetry import get_logger

log = get_logger("cgroups")

_MOUNT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_SERVER = "isolet-server"
# Processes and threads; workerd has two.
_THREADS_MAX = 64


class Cgroup:
    """One instance's group; `remove` it once the process is reaped."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._killed = False
        # One that an earlier process of our pid left has counted its kills; one that holds a process is not ours.
        with contextlib.suppress(OSError):
            folder.rmdir()
        folder.mkdir()
        (folder / "memory.max").write_text(str(max_bytes))
        for name, value in (("memory.swap.max", "0"), ("memory.oom.group", "1"), ("pids.max", str(_THREADS_MAX))):
            # Kernels without swap accounting, older ones, and trees without the controller of pids lack these files.
            with contextlib.suppress(OSError):
                (folder / name).write_text(value)

    def take(self, pid: int) -> None:
        """Put a process in. Where the kernel refuses, it is only watched, like everywhere without cgroups."""
        try:
            (self._folder / "cgroup.procs").write_text(str(pid))
        except OSError as exc:
            log.warning("an instance stays outside its cgroup", pid=pid, error=str(exc))

    @property
    def killed(self) -> bool:
        """Whether the kernel ended a process here for its memory; still known once the group is removed."""
        with contextlib.suppress(OSError):
            for line in (self._folder / "memory.events").read_text().splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    self._killed = int(count) > 0
        return self._killed

    def remove(self) -> None:
        self._killed = self.killed
        with contextlib.suppress(OSError):
            self._folder.rmdir()


class Cgroups:
    """The part of the tree below which instances get theirs. Other servers may use it, too: names have the pid."""

    def __init__(self, base: Path) -> None:
        self._base = base

    def sweep(self) -> None:
        """Remove what servers that were killed left behind."""
        for folder in self._base.glob("isolet-[0-9]*-*"):
            if not Path("/proc", folder.name.split("-")[1]).exists():
                with contextlib.suppress(OSError):
                    folder.rmdir()

    def make(self, name: str, max_bytes: int) -> Cgroup | None:
        """A group with a limit; None when the kernel refuses it."""
        try:
            return Cgroup(self._base / f"isolet-{os.getpid()}-{name}", max_bytes)
        except OSError as exc:
            log.warning("no cgroup for an instance", name=name, error=str(exc))
            return None


def find(*, mount: Path = _MOUNT, own: Path = _OWN) -> Cgroups | None:
    """The tree below this server's cgroup, with the memory controller switched on; None where that may not be.

    Groups that hold groups hold no processes themselves, so the server moves into one of its own first. Its children
    would stay where they are: call this before there are any.
    """
    try:
        line = next(line for line in own.read_text().splitlines() if line.startswith("0::"))
        base = mount / line.removeprefix("0::").lstrip("/")
        controllers = (base / "cgroup.controllers").read_text().split()
        if "memory" not in controllers:
            return None
        if "memory" not in (base / "cgroup.subtree_control").read_text().split():
            server = base / _SERVER
            server.mkdir(exist_ok=True)
            (server / "cgroup.procs").write_text(str(os.getpid()))
            (base / "cgroup.subtree_control").write_text("+memory +pids" if "pids" in controllers else "+memory")
        found = Cgroups(base)
        found.sweep()
        return found
    except (OSError, StopIteration) as exc:
        log.debug("no cgroups of our own", error=str(exc))
        return None
