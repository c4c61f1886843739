"""Runs a program that ends by itself, with bounds of the kernel's on its memory and processor time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

_CHUNK = 64 * 1024
_KEPT_MAX_BYTES = 4 * 1024 * 1024
# The shell sets its own limits, and becomes the program with them.
_SHELL = 'ulimit -d "$1" && ulimit -t "$2" && ulimit -c 0 && shift 2 && exec "$@"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
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
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=pass_fds,
        cwd="/",
        env=environment,
    )
    try:
        async with asyncio.timeout(timeout_s):
            stdout, stderr, _ = await asyncio.gather(
                _some(process.stdout), _some(process.stderr), _write(process.stdin, text)
            )
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Ended(status=process.returncode or 0, stdout=stdout, stderr=stderr)


async def _some(stream: asyncio.StreamReader | None) -> bytes:
    """All that it says is read, the beginning is kept."""
    kept = bytearray()
    while stream is not None and (part := await stream.read(_CHUNK)):
        kept += part[: _KEPT_MAX_BYTES - len(kept)]
    return bytes(kept)


async def _write(stream: asyncio.StreamWriter | None, text: bytes) -> None:
    if stream is not None:
        # One that ends before it has read all says why elsewhere.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if text:
                stream.write(text)
                await stream.drain()
        stream.close()
