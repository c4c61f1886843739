"""Ends a storage process that runs away, gets stuck or grows too large; it starts again on demand."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from isolet.errors import FunctionCrashed
from isolet.ids import ProjectId
from isolet.runtime.process import Child
from isolet.runtime.usage import anonymous_bytes, busy_seconds, cpu_seconds
from isolet.tasks import Tasks
from isolet.telemetry import get_logger
from isolet.wire import heads
from isolet.wire.channel import Channel

log = get_logger("storage")

MEMORY_MAX_BYTES = 1024**3
_PROBE = heads.request(b"PATCH", b"/", heads.lines([(b"host", b"probe"), (b"content-length", b"0")]))
_WATCH_EVERY_S = 1.0
# A statement may run 10 s; a process that does not answer for 5 s, and does not work, is stuck.
_STATEMENT_MAX_S = 10.0
_STUCK_S = 5.0


class Watchdog:
    """Asks the process over `channel`, whose answer may be any. `is_excused` says that it need not answer now."""

    def __init__(
        self, project_id: ProjectId, channel: Channel, *, tasks: Tasks, is_excused: Callable[[], bool]
    ) -> None:
        self._project_id = project_id
        self._channel = channel
        self._tasks = tasks
        self._is_excused = is_excused
        self._loop = asyncio.get_running_loop()

    async def watch(self, child: Child) -> None:
        """Until the process has ended."""
        seen = -1.0
        asked_at: float | None = None
        asked_busy = 0.0
        probe: asyncio.Task[None] | None = None
        while True:
            await asyncio.wait({child.exited}, timeout=_WATCH_EVERY_S)
            if child.exited.done():
                break
            now, cpu = self._loop.time(), cpu_seconds(child.pid)
            if probe is not None and probe.done():
                probe, asked_at = None, None
            if asked_at is not None and not self._is_excused():
                waited = now - asked_at
                # On a busy machine one that works gets little processor time, and is not stuck.
                works = waited > _STUCK_S and busy_seconds(child.pid) - asked_busy >= waited / 2
                if waited > _STATEMENT_MAX_S or (waited > _STUCK_S and not works):
                    self._end(child, "a statement ran over its time" if works else "no answer")
            elif probe is None and cpu != seen:
                # Only a process that did something since the last look is asked.
                seen, asked_at, asked_busy = cpu, now, busy_seconds(child.pid)
                probe = self._tasks.spawn(self._probe(), name=f"probe storage {self._project_id}")
            if anonymous_bytes(child.pid) > MEMORY_MAX_BYTES:
                self._end(child, "over its memory")
        if probe is not None:
            probe.cancel()

    def _end(self, child: Child, reason: str) -> None:
        log.error("storage process killed", project=self._project_id, reason=reason)
        child.kill()

    async def _probe(self) -> None:
        with contextlib.suppress(OSError, FunctionCrashed):
            connection = await self._channel.connect()
            try:
                connection.begin(_PROBE)
                await connection.head()
                while await connection.chunk():
                    pass
            finally:
                self._channel.release(connection)
