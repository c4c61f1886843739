"""Child processes: started with everything they need on descriptors, watched, killed, reaped.

A child gets its configuration on standard input from memory, so that neither code nor secrets touch a disk or a
command line. It listens on a socket that the parent made.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import json
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isolet.errors import PlatformError, Unavailable
from isolet.place import boot_id
from isolet.runtime.sandbox import Sandbox
from isolet.runtime.seccomp import program
from isolet.runtime.usage import data_bytes, stands_still

_PR_SET_PDEATHSIG = 1
_BACKLOG = 1024
_CHUNK = 65_536
_STDERR_KEPT = 16_384
_LINE_MAX = 262_144
_OPEN_FILES_MAX = 4096
# What a program may print before we stop listening for a while; then its pipe fills and it waits.
_OUTPUT_BURST_BYTES = 512 * 1024
_OUTPUT_PAUSE_S = 0.25
_PAUSE_TIMEOUT_S = 10.0
_HALT_MAX_S = 0.005
_HALT_LOOK_S = 0.0001


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """`listeners` maps a socket's name in the configuration to the socket, which the caller may keep open.

    `folders` are bound inside, read-only unless they are in `writable`; `kept` descriptors stay open in the child.
    No file that it writes may grow over `file_max_bytes`, nor its own memory by `memory_max_bytes` once it listens; and
    it may have `open_files_max` descriptors then.
    """

    name: str
    config: bytes
    listeners: Mapping[str, socket.socket]
    network: bool = False
    folders: Mapping[str, Path] = field(default_factory=dict)
    writable: Mapping[str, Path] = field(default_factory=dict)
    kept: tuple[int, ...] = ()
    file_max_bytes: int | None = None
    memory_max_bytes: int | None = None
    open_files_max: int = _OPEN_FILES_MAX


class Child:
    """A running workerd. `ready` resolves once it listens; `exited` with its exit status (negative: a signal).

    `on_line` gets lines of its standard output, `on_error` what comes on its standard error.
    """

    def __init__(
        self,
        spec: ChildSpec,
        sandbox: Sandbox,
        pid_files: PidFiles,
        *,
        on_line: Callable[[bytes], None] | None = None,
        on_error: Callable[[bytes], None] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_line = on_line
        self._on_error = on_error
        self._pid_files = pid_files
        self._spec = spec
        self._out = b""
        self._err = b""
        self._info = b""
        self._sandboxed = sandbox.enabled
        self._doomed = False
        self._burst = 0
        self._listen_again: asyncio.TimerHandle | None = None
        self.name = spec.name
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.exited: asyncio.Future[int] = self._loop.create_future()
        self._spawn(spec, sandbox)

    @property
    def stderr_tail(self) -> str:
        """The end of what it wrote to standard error, in whole lines."""
        kept = self._err if len(self._err) < _STDERR_KEPT else self._err.partition(b"\n")[2]
        return kept.decode(errors="replace")

    async def started(self, timeout_s: float) -> bool:
        """Wait until it listens or has ended; whether it listens. Raises TimeoutError."""
        either: set[asyncio.Future[Any]] = {self.ready, self.exited}
        async with asyncio.timeout(timeout_s):
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return self.ready.done() and not self.ready.cancelled()

    def kill(self) -> None:
        """SIGKILL to the program. Bubblewrap reaps it and ends.

        Killed itself, bubblewrap would leave a zombie to init, and in its first moments a process that waits for ever:
        so a program whose pid is not known yet is killed as soon as it is.
        """
        if self._sandboxed and self._inner_fd < 0 <= self._info_fd:
            self._doomed = True
        else:
            _signal(self._target, signal.SIGKILL)

    def pause(self) -> None:
        """Tell the program to stop where it is, until `resume`."""
        _signal(self._target, signal.SIGSTOP)

    def halt(self) -> None:
        """Like `pause`, and wait until the kernel has stopped every thread, which takes microseconds, 5 ms at most."""
        self.pause()
        deadline = time.monotonic() + _HALT_MAX_S
        while not stands_still(self.pid) and not self.exited.done() and time.monotonic() < deadline:
            time.sleep(_HALT_LOOK_S)

    async def stand_still(self) -> None:
        """Like `pause`, and once this returns, none of its threads does anything.

        Raises Unavailable when it does not come to a stand.
        """
        try:
            async with asyncio.timeout(_PAUSE_TIMEOUT_S):
                # Before that, the signal might meet what starts the program.
                await self.started(_PAUSE_TIMEOUT_S)
                self.pause()
                while not self.exited.done() and not stands_still(self.pid):
                    await asyncio.sleep(0.001)
        except TimeoutError:
            raise Unavailable(f"{self.name} did not stand still within {_PAUSE_TIMEOUT_S:g} s") from None

    def resume(self) -> None:
        _signal(self._target, signal.SIGCONT)

    @property
    def _target(self) -> int:
        return self._inner_fd if self._inner_fd >= 0 else self._pid_fd

    def _spawn(self, spec: ChildSpec, sandbox: Sandbox) -> None:
        (out_read, out_write), (err_read, err_write) = os.pipe(), os.pipe()
        (ready_read, ready_write), (info_read, info_write) = os.pipe(), os.pipe()
        config, seccomp = _in_memory("config", spec.config), _in_memory("seccomp", program(network=spec.network))
        try:
            command = sandbox.command(
                network=spec.network,
                folders=spec.folders,
                writable=spec.writable,
                info_fd=info_write,
                seccomp_fd=seccomp,
                arguments=[
                    "serve",
                    "--binary",
                    "-",
                    "--experimental",
                    f"--control-fd={ready_write}",
                    *(f"--socket-fd={name}={listener.fileno()}" for name, listener in spec.listeners.items()),
                ],
            )
            self._popen = subprocess.Popen(
                command.arguments,
                stdin=config,
                stdout=out_write,
                stderr=err_write,
                pass_fds=(
                    ready_write,
                    info_write,
                    seccomp,
                    *(listener.fileno() for listener in spec.listeners.values()),
                    *spec.kept,
                ),
                env={},
                cwd="/",
                # No terminal of ours, nor its Ctrl-C: children end when the server has drained.
                start_new_session=True,
                # A file that would grow over its limit is an error to the program, not its death.
                restore_signals=spec.file_max_bytes is None,
                preexec_fn=None if command.sandboxed else _die_with_parent,
            )
        except OSError as exc:
            for fd in (out_read, err_read, ready_read, info_read):
                os.close(fd)
            raise PlatformError(f"cannot start workerd: {exc.strerror}") from exc
        finally:
            for fd in (config, seccomp, out_write, err_write, ready_write, info_write):
                os.close(fd)
        self._pid_files.add(self._popen.pid)
        self._pid_fd = os.pidfd_open(self._popen.pid)
        self._inner_fd = -1
        self.pid = self._popen.pid
        self._out_fd, self._err_fd = out_read, err_read
        self._ready_fd, self._info_fd = ready_read, info_read
        for fd, reader in (
            (self._out_fd, self._read_out),
            (self._err_fd, self._read_err),
            (self._ready_fd, self._read_ready),
            (self._info_fd, self._read_info),
            (self._pid_fd, self._reap),
        ):
            os.set_blocking(fd, False)
            self._loop.add_reader(fd, reader)

    def _read_out(self) -> bool:
        """Take in what was printed; whether there may be more."""
        chunk = _read(self._out_fd)
        if not chunk:
            self._out_fd = self._ended(self._out_fd, chunk)
            return False
        self._spend(len(chunk))
        *lines, rest = (self._out + chunk).split(b"\n")
        # A line without end is cut, so that a function cannot fill our memory.
        self._out = rest if len(rest) < _LINE_MAX else b""
        if self._on_line is not None:
            for line in lines:
                self._on_line(line)
        return True

    def _read_err(self) -> bool:
        chunk = _read(self._err_fd)
        if not chunk:
            self._err_fd = self._ended(self._err_fd, chunk)
            return False
        self._spend(len(chunk))
        self._err = (self._err + chunk)[-_STDERR_KEPT:]
        if self._on_error is not None:
            self._on_error(chunk)
        return True

    def _spend(self, size: int) -> None:
        """Count output; over the burst, stop listening for a while, so that printing cannot take our time."""
        self._burst += size
        if self._listen_again is None:
            self._listen_again = self._loop.call_later(_OUTPUT_PAUSE_S, self._refill)
        if self._burst > _OUTPUT_BURST_BYTES:
            for fd in (self._out_fd, self._err_fd):
                if fd >= 0:
                    self._loop.remove_reader(fd)

    def _refill(self) -> None:
        self._burst, self._listen_again = 0, None
        for fd, reader in ((self._out_fd, self._read_out), (self._err_fd, self._read_err)):
            if fd >= 0:
                self._loop.add_reader(fd, reader)

    def _ended(self, fd: int, chunk: bytes | None) -> int:
        """Stop watching a pipe that is at its end."""
        return fd if chunk is None else self._drop(fd)

    def _read_ready(self) -> None:
        chunk = _read(self._ready_fd)
        if chunk is None:
            return
        self._ready_fd = self._drop(self._ready_fd)
        if chunk and not self.ready.done():
            self._read_info()
            self._limit()
            self.ready.set_result(None)

    def _read_info(self) -> None:
        """Bubblewrap reports the program's pid in our namespace, in pieces; bare workerd says nothing.

        The pipe stays open to its end: bubblewrap dies of one that closes between its pieces.
        """
        while chunk := _read(self._info_fd):
            self._info += chunk
        if self._inner_fd < 0 and self._info.rstrip().endswith(b"}"):
            self.pid = json.loads(self._info)["child-pid"]
            with contextlib.suppress(ProcessLookupError):
                self._inner_fd = os.pidfd_open(self.pid)
        if chunk is not None:
            self._info_fd = self._drop(self._info_fd)
        if self._doomed:
            self.kill()

    def _limit(self) -> None:
        """What the kernel itself holds the program to from now on, as a last line behind what is watched."""
        # No more than we may have ourselves: only root could raise that.
        open_files = min(self._spec.open_files_max, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        limits = {resource.RLIMIT_NOFILE: open_files, resource.RLIMIT_CORE: 0}
        if self._spec.file_max_bytes is not None:
            limits[resource.RLIMIT_FSIZE] = self._spec.file_max_bytes
        if self._spec.memory_max_bytes is not None:
            limits[resource.RLIMIT_DATA] = data_bytes(self.pid) + self._spec.memory_max_bytes
        with contextlib.suppress(ProcessLookupError):
            for name, value in limits.items():
                resource.prlimit(self.pid, name, (value, value))

    def _reap(self) -> None:
        status = self._popen.poll()
        if status is None:
            return
        while self._read_out() or self._read_err():
            pass
        if self._listen_again is not None:
            self._listen_again.cancel()
        for fd in (self._out_fd, self._err_fd, self._ready_fd, self._info_fd, self._pid_fd):
            self._drop(fd)
        if self._inner_fd >= 0:
            os.close(self._inner_fd)
        self._out_fd = self._err_fd = self._ready_fd = self._info_fd = self._pid_fd = self._inner_fd = -1
        self._pid_files.remove(self._popen.pid)
        if not self.ready.done():
            self.ready.cancel()
        # Bubblewrap reports a signal as 128 + its number.
        self.exited.set_result(128 - status if status > 128 else status)

    def _drop(self, fd: int) -> int:
        if fd >= 0:
            self._loop.remove_reader(fd)
            os.close(fd)
        return -1


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
                _signal(process, signal.SIGKILL)
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


def listen(path: Path) -> socket.socket:
    """A listening unix socket at `path`, in place of whatever stood there."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _read(fd: int) -> bytes | None:
    """What is there; None for nothing yet, empty at the end."""
    if fd < 0:
        return None
    try:
        return os.read(fd, _CHUNK)
    except BlockingIOError:
        return None
    except OSError as exc:
        if exc.errno == errno.EIO:
            return b""
        raise


def _in_memory(name: str, data: bytes) -> int:
    """A descriptor to read `data` from, backed by memory alone."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _signal(fd: int, number: signal.Signals) -> None:
    if fd >= 0:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(fd, number)


def _start_ticks(pid: int) -> str | None:
    """When a process started, in clock ticks since boot: with the pid, it names the process for good."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return stat.rpartition(")")[2].split()[19]


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
