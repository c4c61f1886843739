"""Runs a program that ends by itself, with bounds of the kernel's on its memory and processor time."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import IO, TypeAlias

from msgspec import Struct

# Of a file in memory: all of it, or what writes it.
Content: TypeAlias = bytes | Callable[[IO[bytes]], object]
_CHUNK = 64 * 1024
_KEPT_MAX_BYTES = 4 * 1024 * 1024
# The shell sets its own limits, and becomes the program with them.
_SHELL = 'ulimit -d "$1" && ulimit -t "$2" && ulimit -c 0 && shift 2 && exec "$@"'


class Ended(Struct, frozen=True, kw_only=True):
    """`status` is negative for a signal."""

    status: int
    stdout: bytes
    stderr: bytes


def limited(command: Sequence[str], *, memory_bytes: int, cpu_s: int) -> list[str]:
    """The command under limits of its data segment, which all its own memory counts to, and of processor time."""
    return ["/bin/sh", "-c", _SHELL, "sh", str(memory_bytes // 1024), str(cpu_s), *command]


async def run_tool(
    command: Sequence[str], text: bytes, *, timeout_s: float, pass_fds: Sequence[int] = (), **environment: str
) -> Ended:
    """Write `text` to its standard input and wait for its end. Raises TimeoutError; it is killed then."""
    with ExitStack() as stack:
        process = stack.enter_context(_start(command, text, pass_fds, environment))
        # Before its file is waited for, however this ends.
        stack.callback(process.kill)
        exited = _exit_of(process, stack)
        try:
            async with asyncio.timeout(timeout_s):
                stdout, stderr = await asyncio.gather(_some(process.stdout), _some(process.stderr))
                await exited.wait()
        finally:
            if process.poll() is None:
                process.kill()
                await exited.wait()
    return Ended(status=process.returncode, stdout=stdout, stderr=stderr)


def _start(
    command: Sequence[str], text: bytes, pass_fds: Sequence[int], environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Not by the loop, which would copy all of this process first: that takes 15 ms, and holds everything up."""
    given = in_memory("text", text)
    try:
        return subprocess.Popen(
            command,
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=pass_fds,
            cwd="/",
            env=environment,
        )
    finally:
        os.close(given)


def in_memory(name: str, content: Content) -> int:
    """A descriptor to read `content` from, backed by memory alone. `name` is for who looks at the process."""
    with os.fdopen(os.memfd_create(name), "wb") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            content(file)
        file.seek(0)
        return os.dup(file.fileno())


def _exit_of(process: subprocess.Popen[bytes], stack: ExitStack) -> asyncio.Event:
    """Set when the process has ended; it is watched as long as `stack` lives."""
    exited, loop = asyncio.Event(), asyncio.get_running_loop()
    pid_fd = os.pidfd_open(process.pid)
    stack.callback(os.close, pid_fd)
    loop.add_reader(pid_fd, exited.set)
    stack.callback(loop.remove_reader, pid_fd)
    return exited


async def _some(pipe: IO[bytes] | None) -> bytes:
    """All that it says is read, the beginning is kept.

    Not by `connect_read_pipe`: uvloop closes the descriptor and then the file, when the number may be another's.
    """
    if pipe is None:
        return b""
    kept, ended, loop, fd = bytearray(), asyncio.Event(), asyncio.get_running_loop(), pipe.fileno()

    def take() -> None:
        try:
            part = os.read(fd, _CHUNK)
        except BlockingIOError:
            return
        kept.extend(part[: _KEPT_MAX_BYTES - len(kept)])
        if not part:
            loop.remove_reader(fd)
            ended.set()

    os.set_blocking(fd, False)
    loop.add_reader(fd, take)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(fd)
    return bytes(kept)
