"""A request body that must be whole before it is used, and is too large for memory: a file without a name."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from isolet.domain.json_text import Verdict
from isolet.errors import Unavailable
from isolet.invoke import json_file
from isolet.invoke.bodies import Bodies, Hold
from isolet.limited import limited, run_tool

T = TypeVar("T")
PART_BYTES = 131_072
# What reading a body takes meanwhile: what came of it, of which a connection holds some, and the part that is written.
READING_BYTES = 524_288
# And sending it to an instance.
SENDING_BYTES = 2 * PART_BYTES
# Checking 100 MB takes 10 s at the worst; others may be at it before.
_CHECK_TIMEOUT_S = 60.0
_CHECK_CPU_S = 60
_CHECK_MEMORY_BYTES = 128 * 1024 * 1024


class Reader(Protocol):
    """Sees a body as it comes, in a thread, and says what is kept of it."""

    def feed(self, data: bytes) -> bytes: ...
    def close(self) -> bytes: ...


class Spooled:
    """`size` is in bytes. One piece of work runs on the file at a time, but for `parts`, which may be read again."""

    def __init__(self, bodies: Bodies, hold: Hold) -> None:
        """Raises Unavailable when no file can be made."""
        self.size = 0
        self._bodies = bodies
        self._hold = hold
        try:
            self._file = tempfile.TemporaryFile(dir=bodies.folder, buffering=0)  # noqa: SIM115
        except OSError as exc:
            raise Unavailable(f"cannot keep the request's body: {exc.strerror}") from exc
        self._work: Future[Any] | None = None

    async def write(self, data: bytes, reader: Reader | None = None) -> None:
        """Raises Unavailable when the disk does not take it."""
        await self._run(lambda: self._write(data if reader is None else reader.feed(data)))

    async def end(self, reader: Reader | None = None) -> None:
        """All of it has come; it holds what it needs from now on."""
        if reader is not None:
            await self._run(lambda: self._write(reader.close()))
        await self._hold.disk(self.size)
        await self._hold.memory(SENDING_BYTES)

    async def judge_json(self, values_max: int | None) -> Verdict:
        """Whether it is JSON of at most so many values. Raises Unavailable when nobody can say."""
        fd = self._file.fileno()
        tool = limited(json_file.command(fd, values_max), memory_bytes=_CHECK_MEMORY_BYTES, cpu_s=_CHECK_CPU_S)
        try:
            async with asyncio.timeout(_CHECK_TIMEOUT_S), self._bodies.checks.take(self._hold.project_id):
                ended = await run_tool(tool, b"", timeout_s=_CHECK_TIMEOUT_S, pass_fds=(fd,))
            return Verdict(ended.status)
        except (TimeoutError, OSError, ValueError) as exc:
            raise Unavailable("The body's JSON could not be checked; try again later") from exc

    async def parts(self) -> AsyncIterator[bytes]:
        at = 0
        while at < self.size:
            part = await self._run(lambda at=at: self._read(PART_BYTES, at))  # type: ignore[misc]
            at += len(part)
            yield part

    async def read(self) -> bytes:
        """The whole of it, in memory that is counted. Raises TooManyRequests, Unavailable."""
        # Who waits for much while it holds a little could keep others waiting for ever.
        await self._hold.memory(0)
        await self._hold.memory(self.size)
        return await self._run(self._read_all)

    def close(self) -> None:
        """The file is gone once nobody works on it. The kernel takes a tenth of a millisecond for each MB of it."""
        if self._work is None:
            self._bodies.close_file(self._file)
        else:
            self._work.add_done_callback(lambda _: self._bodies.close_file(self._file))

    async def _run(self, work: Callable[[], T]) -> T:
        running = self._bodies.submit(work)
        self._work = running
        return await asyncio.wrap_future(running)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                written = self._file.write(view)
                self.size += written
                view = view[written:]
        except OSError as exc:
            raise Unavailable(f"cannot keep the request's body: {exc.strerror}") from exc

    def _read(self, size: int, at: int) -> bytes:
        try:
            return os.pread(self._file.fileno(), size, at)
        except OSError as exc:
            raise Unavailable(f"cannot read the request's body again: {exc.strerror}") from exc

    def _read_all(self) -> bytes:
        whole = bytearray()
        while len(whole) < self.size:
            whole += self._read(self.size - len(whole), len(whole))
        return bytes(whole)
