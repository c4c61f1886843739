"""What a child process prints: its standard output by lines, the end of its standard error, both at a bounded rate."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable

_CHUNK = 65_536
_STDERR_KEPT = 16_384
_LINE_MAX = 262_144
# What a program may print before we stop listening for a while; then its pipe fills and it waits.
_BURST_BYTES = 512 * 1024
_PAUSE_S = 0.25


class Output:
    """Owns the read ends of both pipes. `on_line` gets lines of standard output, `on_error` parts of standard error."""

    def __init__(
        self,
        out_fd: int,
        err_fd: int,
        *,
        on_line: Callable[[bytes], None] | None,
        on_error: Callable[[bytes], None] | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_line = on_line
        self._on_error = on_error
        self._out_fd = out_fd
        self._err_fd = err_fd
        self._out = b""
        self._err = b""
        self._burst = 0
        self._listen_again: asyncio.TimerHandle | None = None
        for fd in (out_fd, err_fd):
            os.set_blocking(fd, False)
        self._listen()

    @property
    def stderr_is_whole(self) -> bool:
        """Whether the end is all that was written."""
        return len(self._err) < _STDERR_KEPT

    @property
    def stderr_tail(self) -> str:
        """The end of what was written to standard error, in whole lines."""
        kept = self._err if self.stderr_is_whole else self._err.partition(b"\n")[2]
        return kept.decode(errors="replace")

    def drain(self) -> None:
        """Take in what the pipes still hold of a process that has ended, and close them."""
        while self._read_out() or self._read_err():
            pass
        if self._listen_again is not None:
            self._listen_again.cancel()
        self._out_fd, self._err_fd = drop(self._loop, self._out_fd), drop(self._loop, self._err_fd)

    def _listen(self) -> None:
        for fd, reader in ((self._out_fd, self._read_out), (self._err_fd, self._read_err)):
            if fd >= 0:
                self._loop.add_reader(fd, reader)

    def _read_out(self) -> bool:
        """Take in what was printed; whether there may be more."""
        chunk = read(self._out_fd)
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
        chunk = read(self._err_fd)
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
            self._listen_again = self._loop.call_later(_PAUSE_S, self._refill)
        if self._burst > _BURST_BYTES:
            for fd in (self._out_fd, self._err_fd):
                if fd >= 0:
                    self._loop.remove_reader(fd)

    def _refill(self) -> None:
        self._burst, self._listen_again = 0, None
        self._listen()

    def _ended(self, fd: int, chunk: bytes | None) -> int:
        """Stop watching a pipe that is at its end."""
        return fd if chunk is None else drop(self._loop, fd)


def read(fd: int) -> bytes | None:
    """What a descriptor that does not block has to read; None for nothing yet, empty at the end."""
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


def drop(loop: asyncio.AbstractEventLoop, fd: int) -> int:
    """Stop watching a descriptor and close it; -1, to be kept in its place."""
    if fd >= 0:
        loop.remove_reader(fd)
        os.close(fd)
    return -1
