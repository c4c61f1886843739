"""The storage of projects: one workerd process each, holding KV and SQL over files in the data directory.

The process starts with the first connection and stops when no instance of the project is left (`demand.py`). A lock
that it holds itself makes a second owner of the files impossible.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from socket import socket

from isolet.errors import FunctionCrashed, PlatformError, Unavailable
from isolet.ids import ProjectId
from isolet.runtime.answers import Answers
from isolet.runtime.config import DATABASE_SOCKET, HOST_SOCKET, KV_SOCKET, ConfigBuilder
from isolet.runtime.demand import InUse, NotNow, OnDemand
from isolet.runtime.process import Child, ChildSpec, PidFiles, listen
from isolet.runtime.room import Room
from isolet.runtime.sandbox import Sandbox
from isolet.runtime.usage import anonymous_bytes, busy_seconds, cpu_seconds
from isolet.tasks import Tasks
from isolet.telemetry import get_logger
from isolet.wire import heads
from isolet.wire.channel import Channel

log = get_logger("storage")

_PROBE = heads.request(b"PATCH", b"/", heads.lines([(b"host", b"probe"), (b"content-length", b"0")]))

_DATA_INSIDE = "/data"
_HOST_INSIDE = "/host"
_MB = 1024 * 1024
_FILE_SLACK_BYTES = 64 * _MB
_FOLDERS = ("objects", "blobs")
_WATCH_EVERY_S = 1.0
# A statement may run 10 s; a process that does not answer for 5 s, and does not work, is stuck.
_STATEMENT_MAX_S = 10.0
_STUCK_S = 5.0
_MEMORY_MAX_BYTES = 1024**3
# The kernel's own limit counts address space, so it leaves more room.
_MEMORY_SLACK_BYTES = 1024**3
_LOCK_TIMEOUT_S = 5.0


class Storage:
    """One project's process and its sockets. `users` counts the instances and requests that may need it."""

    def __init__(self, owner: Storages, project_id: ProjectId) -> None:
        self._owner = owner
        self.project_id = project_id
        self._loop = asyncio.get_running_loop()
        self.folder = owner.data / project_id
        for name in _FOLDERS:
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.sockets = owner.sockets / project_id.replace("-", "")[:20]
        self.sockets.mkdir(exist_ok=True)
        # Beside the folder of the sockets, which instances see.
        self.inside = owner.inside / self.sockets.name
        self.inside.mkdir(exist_ok=True)
        self._room = Room(self.folder, lambda: owner.limit_mb(project_id))
        self._answers = Answers(self.inside / HOST_SOCKET, self._room.answer)
        listeners = {name: listen(self.sockets / name) for name in (KV_SOCKET, DATABASE_SOCKET)}
        self.kv = Channel(str(self.sockets / KV_SOCKET))
        self.database = Channel(str(self.sockets / DATABASE_SOCKET))
        self.users = 0
        self.idle_timer: asyncio.TimerHandle | None = None
        self.patient = 0
        self._alone = asyncio.Lock()
        self._process = OnDemand(
            "storage", project_id, listeners, self._start, tasks=owner.tasks, on_started=self._started
        )

    @property
    def pid(self) -> int | None:
        """The pid of the running process."""
        child = self._process.child
        return child.pid if child is not None else None

    async def _start(self, listeners: Mapping[str, socket]) -> Child:
        await self._answers.start()
        lock = await self._take_lock()
        try:
            await asyncio.to_thread(self._room.started)
            if self._process.closed or self._process.held:
                raise NotNow
            return self._owner.spawn(self, listeners, lock)
        finally:
            os.close(lock)

    def _started(self, child: Child) -> None:
        self._owner.tasks.spawn(self._guard(child), name=f"guard storage {self.project_id}")

    async def _take_lock(self) -> int:
        """The lock on the files; the child inherits it and keeps it as long as it lives."""
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = self._loop.time() + _LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock
            except BlockingIOError:
                if self._loop.time() > deadline:
                    os.close(lock)
                    raise PlatformError("cannot take the lock of the storage: another process owns it") from None
                await asyncio.sleep(0.02)

    # Guarding.

    async def _guard(self, child: Child) -> None:
        """Kill the process when it runs away, gets stuck or grows too large; it starts again on demand."""
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
            if asked_at is not None and not self.patient and not self._process.held:
                waited = now - asked_at
                # On a busy machine one that works gets little processor time, and is not stuck.
                works = waited > _STUCK_S and busy_seconds(child.pid) - asked_busy >= waited / 2
                if waited > _STATEMENT_MAX_S or (waited > _STUCK_S and not works):
                    self._end(child, "a statement ran over its time" if works else "no answer")
            elif probe is None and cpu != seen:
                # Only a process that did something since the last look is asked.
                seen, asked_at, asked_busy = cpu, now, busy_seconds(child.pid)
                probe = self._owner.tasks.spawn(self._probe(), name=f"probe storage {self.project_id}")
            if anonymous_bytes(child.pid) > _MEMORY_MAX_BYTES:
                self._end(child, "over its memory")
        if probe is not None:
            probe.cancel()

    def _end(self, child: Child, reason: str) -> None:
        log.error("storage process killed", project=self.project_id, reason=reason)
        child.kill()

    async def _probe(self) -> None:
        """Any answer will do."""
        with contextlib.suppress(OSError, FunctionCrashed):
            connection = await self.kv.connect()
            try:
                connection.begin(_PROBE)
                await connection.head()
                while await connection.chunk():
                    pass
            finally:
                self.kv.release(connection)

    # Standing still, for backups.

    @contextlib.asynccontextmanager
    async def paused(self) -> AsyncIterator[Path]:
        """The files, while nobody writes them: one at a time. Calls wait meanwhile."""
        async with self._hold_still():
            child = self._process.child
            try:
                if child is not None:
                    await child.stand_still()
                yield self.folder
            finally:
                if child is not None:
                    child.resume()

    @contextlib.asynccontextmanager
    async def stopped(self) -> AsyncIterator[Path]:
        """The files, with no process on them: one at a time. Calls wait meanwhile, those under way fail."""
        async with self._hold_still():
            await self._process.kill()
            self._process.forget_failures()
            yield self.folder

    @contextlib.asynccontextmanager
    async def _hold_still(self) -> AsyncIterator[None]:
        """No process starts meanwhile."""
        async with self._alone:
            if self._process.closed:
                raise Unavailable("the project's storage was closed")
            self._process.hold()
            try:
                yield
            finally:
                self._process.let_go()

    async def close_in_turn(self) -> None:
        """Close once no copy or swap is under way; those that wait raise Unavailable."""
        async with self._alone:
            await self.close()

    def detach(self) -> None:
        """Give the sockets up at once, so that the next use of the project makes new ones."""
        self._process.detach()
        self.kv.close()
        self.database.close()
        self._answers.detach()
        for folder in (self.sockets, self.inside):
            shutil.rmtree(folder, ignore_errors=True)

    async def close(self) -> None:
        if not self._process.closed:
            self.detach()
        await self._process.kill()


class Storages:
    """Every project's storage that is in use."""

    def __init__(
        self,
        *,
        configs: ConfigBuilder,
        sandbox: Sandbox,
        pid_files: PidFiles,
        data: Path,
        sockets: Path,
        idle_timeout_s: float,
        database_max_bytes: int,
        limit_mb: Callable[[ProjectId], int],
    ) -> None:
        self._configs = configs
        self._sandbox = sandbox
        self._pid_files = pid_files
        self._file_max_bytes = database_max_bytes
        self.data = data
        self.sockets = sockets
        self.tasks = Tasks()
        self._in_use = InUse(
            lambda project_id: Storage(self, project_id), idle_timeout_s=idle_timeout_s, tasks=self.tasks
        )
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.inside: Path = sockets.with_name("rooms")
        self.limit_mb: Callable[[ProjectId], int] = limit_mb
        for folder in (sockets, self.inside):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)

    def hold(self, project_id: ProjectId) -> Storage:
        """A project's storage, kept working until `release`. Raises NotFound for a project that was deleted."""
        return self._in_use.hold(project_id)

    def release(self, storage: Storage) -> None:
        self._in_use.release(storage)

    def use(self, project_id: ProjectId) -> AbstractAsyncContextManager[Storage]:
        """A project's storage, for a request of the host's own."""
        return self._in_use.use(project_id)

    async def delete(self, project_id: ProjectId) -> None:
        """Everything the project stored, for good: what still arrives for it makes nothing anew."""
        storage = self._in_use.delete(project_id)
        if storage is not None:
            await storage.close_in_turn()
        await asyncio.to_thread(shutil.rmtree, self.data / project_id, ignore_errors=True)

    async def close(self) -> None:
        await self._in_use.close()
        await self.tasks.close()

    def spawn(self, storage: Storage, listeners: Mapping[str, socket], lock: int) -> Child:
        """Start the process on a project's files. Raises PlatformError."""
        config = self._configs.storage(
            folder=self._sandbox.path(storage.folder, _DATA_INSIDE),
            inside=self._sandbox.path(storage.inside, _HOST_INSIDE),
        )
        spec = ChildSpec(
            name=f"storage {storage.folder.name}",
            config=config,
            listeners=listeners,
            folders={_HOST_INSIDE: storage.inside},
            writable={_DATA_INSIDE: storage.folder},
            kept=(lock,),
            # A transaction that is undone in the end may fill a log as large as the limit, and no more.
            file_max_bytes=min(self._file_max_bytes, self.limit_mb(storage.project_id) * _MB + _FILE_SLACK_BYTES),
            memory_max_bytes=_MEMORY_MAX_BYTES + _MEMORY_SLACK_BYTES,
        )
        return Child(spec, self._sandbox, self._pid_files)
