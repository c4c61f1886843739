"""Child processes: started with everything they need on descriptors, watched, killed, reaped.

A child gets its configuration on standard input from memory, so that neither code nor secrets touch a disk or a
command line. It listens on a socket that the parent made.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from isolet.errors import PlatformError, Unavailable
from isolet.limited import Content, in_memory
from isolet.runtime import kernel_limits
from isolet.runtime.output import Output, drop, read
from isolet.runtime.pid_files import PidFiles
from isolet.runtime.sandbox import Sandbox
from isolet.runtime.seccomp import program
from isolet.runtime.usage import stands_still

_PR_SET_PDEATHSIG = 1
_BACKLOG = 1024
_OPEN_FILES_MAX = 4096
# workerd has two where it looks no names up.
_THREADS_MAX = 64
_PAUSE_TIMEOUT_S = 10.0
_HALT_MAX_S = 0.005
_HALT_LOOK_S = 0.0001


class ChildSpec(Struct, frozen=True, kw_only=True):
    """`listeners` maps a socket's name in the configuration to the socket, which the caller may keep open.

    `folders` are bound inside, read-only unless they are in `writable`; `kept` descriptors stay open in the child.
    Once it listens no file that it writes may grow over `file_max_bytes`, which may be raised to `file_most_bytes`, nor
    its own memory by `memory_max_bytes`; and it may have `open_files_max` descriptors and, in a sandbox, `threads_max`
    threads.
    """

    name: str
    config: Content
    listeners: Mapping[str, socket.socket]
    network: bool = False
    folders: Mapping[str, Path] = field(default_factory=dict)
    writable: Mapping[str, Path] = field(default_factory=dict)
    kept: tuple[int, ...] = ()
    file_max_bytes: int | None = None
    file_most_bytes: int | None = None
    memory_max_bytes: int | None = None
    open_files_max: int = _OPEN_FILES_MAX
    threads_max: int = _THREADS_MAX


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
        self._pid_files = pid_files
        self._spec = spec
        self._file_max_bytes = spec.file_max_bytes
        self._info = b""
        self._sandboxed = sandbox.enabled
        self._doomed = False
        self.name = spec.name
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.exited: asyncio.Future[int] = self._loop.create_future()
        self._output = self._spawn(spec, sandbox, on_line, on_error)

    @property
    def stderr_is_whole(self) -> bool:
        """Whether `stderr_tail` is all that it wrote there."""
        return self._output.stderr_is_whole

    @property
    def stderr_tail(self) -> str:
        """The end of what it wrote to standard error, in whole lines."""
        return self._output.stderr_tail

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

    def let_files_grow(self, max_bytes: int) -> None:
        """Its files may be so large from now on, or as large as they may be already."""
        if self._file_max_bytes is not None and max_bytes > self._file_max_bytes:
            self._file_max_bytes = max_bytes
            if self.ready.done() and not self.exited.done():
                kernel_limits.let_files_grow(self.pid, max_bytes)

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

    def _spawn(
        self,
        spec: ChildSpec,
        sandbox: Sandbox,
        on_line: Callable[[bytes], None] | None,
        on_error: Callable[[bytes], None] | None,
    ) -> Output:
        (out_read, out_write), (err_read, err_write) = os.pipe(), os.pipe()
        (ready_read, ready_write), (info_read, info_write) = os.pipe(), os.pipe()
        config, seccomp = in_memory("config", spec.config), in_memory("seccomp", program(network=spec.network))
        try:
            command = sandbox.command(
                network=spec.network,
                folders=spec.folders,
                writable=spec.writable,
                info_fd=info_write,
                seccomp_fd=seccomp,
                arguments=_arguments(spec, ready_write),
            )
            self._popen = subprocess.Popen(
                command.arguments,
                stdin=config,
                stdout=out_write,
                stderr=err_write,
                pass_fds=(ready_write, info_write, seccomp, *_sockets(spec), *spec.kept),
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
        try:
            self._watch(self._popen.pid, ready_read, info_read)
        except OSError as exc:
            # Nobody would know of it, and it would run until the server ends. The whole session goes: what bubblewrap
            # has just begun would wait for ever.
            os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait()
            for fd in (out_read, err_read, ready_read, info_read):
                os.close(fd)
            raise PlatformError(f"cannot start workerd: {exc.strerror}") from exc
        return Output(out_read, err_read, on_line=on_line, on_error=on_error)

    def _watch(self, pid: int, ready_fd: int, info_fd: int) -> None:
        """Hear of what the program says of itself, and of its end."""
        self._pid_files.add(pid)
        self._pid_fd = os.pidfd_open(pid)
        self._inner_fd = -1
        self.pid = pid
        self._ready_fd, self._info_fd = ready_fd, info_fd
        for fd, reader in (
            (self._ready_fd, self._read_ready),
            (self._info_fd, self._read_info),
            (self._pid_fd, self._reap),
        ):
            os.set_blocking(fd, False)
            self._loop.add_reader(fd, reader)

    def _read_ready(self) -> None:
        chunk = read(self._ready_fd)
        if chunk is None:
            return
        self._ready_fd = drop(self._loop, self._ready_fd)
        if chunk and not self.ready.done():
            self._read_info()
            self._limit()
            self.ready.set_result(None)

    def _read_info(self) -> None:
        """Bubblewrap reports the program's pid in our namespace, in pieces; bare workerd says nothing.

        The pipe stays open to its end: bubblewrap dies of one that closes between its pieces.
        """
        while chunk := read(self._info_fd):
            self._info += chunk
        if self._inner_fd < 0 and self._info.rstrip().endswith(b"}"):
            self.pid = json.loads(self._info)["child-pid"]
            with contextlib.suppress(ProcessLookupError):
                self._inner_fd = os.pidfd_open(self.pid)
        if chunk is not None:
            self._info_fd = drop(self._loop, self._info_fd)
        if self._doomed:
            self.kill()

    def _limit(self) -> None:
        spec = self._spec
        kernel_limits.apply(
            self.pid,
            open_files_max=spec.open_files_max,
            file_max_bytes=self._file_max_bytes,
            file_most_bytes=spec.file_most_bytes,
            memory_max_bytes=spec.memory_max_bytes,
            threads_max=spec.threads_max if self._sandboxed else None,
        )

    def _reap(self) -> None:
        status = self._popen.poll()
        if status is None:
            return
        self._output.drain()
        for fd in (self._ready_fd, self._info_fd, self._pid_fd):
            drop(self._loop, fd)
        if self._inner_fd >= 0:
            os.close(self._inner_fd)
        self._ready_fd = self._info_fd = self._pid_fd = self._inner_fd = -1
        self._pid_files.remove(self._popen.pid)
        if not self.ready.done():
            self.ready.cancel()
        # Bubblewrap reports a signal as 128 + its number.
        self.exited.set_result(128 - status if status > 128 else status)


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


def _signal(fd: int, number: signal.Signals) -> None:
    if fd >= 0:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(fd, number)


def _sockets(spec: ChildSpec) -> list[int]:
    return [listener.fileno() for listener in spec.listeners.values()]


def _arguments(spec: ChildSpec, control_fd: int) -> list[str]:
    """Of workerd, which reads its configuration from standard input."""
    sockets = [f"--socket-fd={name}={fd}" for name, fd in zip(spec.listeners, _sockets(spec), strict=True)]
    return ["serve", "--binary", "-", "--experimental", f"--control-fd={control_fd}", *sockets]


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
