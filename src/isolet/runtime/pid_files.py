"""Which children a server started, on disk, so that the next start ends what a crash left behind."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from isolet.place import boot_id
from isolet.telemetry import get_logger

log = get_logger("runtime")


class PidFiles:
    """Which children this server started, on disk, so that the next start can end what a crash left behind.

    Each file says which folder it was written in: a copy of the folder must not end the processes of the original.
    `data` holds what sandboxes bind besides the folder that `folder` lies in. `foreign` is true when files that do not
    say so name processes that run and are not known to be of this folder.
    """

    def __init__(self, folder: Path, *, data: Path | None = None) -> None:
        self._folder = folder
        self._bound = tuple(f"{path}/".encode() for path in (folder.parent, data) if path is not None)
        self.foreign = False
        folder.mkdir(parents=True, exist_ok=True)
        status = folder.stat()
        self._home = f"{status.st_dev}:{status.st_ino}"

    def add(self, pid: int) -> None:
        """On a full disk it cannot be noted: the child ends with its server all the same."""
        try:
            self._write(pid)
        except OSError as exc:
            log.warning("cannot note the pid of a child", pid=pid, error=exc.strerror)

    def _write(self, pid: int) -> None:
        (self._folder / str(pid)).write_text(f"{_start_ticks(pid) or ''} {self._home} {boot_id()}")

    def remove(self, pid: int) -> None:
        (self._folder / str(pid)).unlink(missing_ok=True)

    def kill_leftovers(self) -> int:
        """How many processes of an earlier run were still there."""
        count = 0
        for file in self._folder.iterdir():
            if file.name.isascii() and file.name.isdecimal():
                count += self._kill_leftover(int(file.name), file.read_text(errors="replace").split())
                file.unlink(missing_ok=True)
        return count + self._kill_stuck()

    def _kill_leftover(self, pid: int, written: Sequence[str]) -> int:
        ticks, *place = written or ("",)
        try:
            process = os.pidfd_open(pid)
        except OSError:
            return 0
        try:
            # Once it is open, the pid cannot become another process's.
            if not ticks or _start_ticks(pid) != ticks:
                return 0
            if place == [self._home, boot_id()]:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(process, signal.SIGKILL)
                return 1
            # Earlier versions wrote no place. Children end with their server, and its sandboxes name their folder.
            self.foreign = self.foreign or not (place or self._names_ours(Path(f"/proc/{pid}/cmdline")))
            return 0
        finally:
            os.close(process)

    def _kill_stuck(self) -> int:
        """Bubblewraps that wait for ever: their parent died in their first moments, before they could notice.

        Nobody else binds folders beside ours, so their command lines name them.
        """
        count = 0
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                if self._names_ours(file):
                    os.kill(int(file.parent.name), signal.SIGKILL)
                    count += 1
        return count

    def _names_ours(self, command_line: Path) -> bool:
        """Whether it is a sandbox's that binds a folder of ours: by its name, and by what has that name there."""
        try:
            program, *arguments = command_line.read_bytes().split(b"\0")
            if not program.endswith(b"/bwrap"):
                return False
            named = next((argument for argument in arguments if argument.startswith(self._bound)), None)
            # In another container the same name may be another folder's.
            return named is not None and os.path.samefile(named, bytes(command_line.parent / "root") + named)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return False


def _start_ticks(pid: int) -> str | None:
    """When a process started, in clock ticks since boot: with the pid, it names the process for good."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return stat.rpartition(")")[2].split()[19]
