"""Storage over files in the data directory: one workerd process a project, which holds its KV and SQL.

The process starts with the first connection and stops when no instance of the project is left (`supervised.py`). A lock
that it holds itself makes a second owner of the files impossible.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from pathlib import Path
from socket import socket

from isolet.domain.changes import Change, ProjectChanged
from isolet.domain.stores import StoreKind
from isolet.errors import PlatformError, Unavailable
from isolet.ids import ProjectId
from isolet.runtime.answers import Answers
from isolet.runtime.config import DATABASE_SOCKET, HOST_SOCKET, KV_SOCKET, SOCKETS, ConfigBuilder
from isolet.runtime.in_use import InUse
from isolet.runtime.pid_files import PidFiles
from isolet.runtime.process import Child, ChildSpec, listen
from isolet.runtime.sandbox import Sandbox
from isolet.runtime.storage import files
from isolet.runtime.storage.port import PARTS, Copy, ProjectStorage, Replace
from isolet.runtime.storage.room import Room
from isolet.runtime.storage.watchdog import MEMORY_MAX_BYTES, Watchdog
from isolet.runtime.supervised import SupervisedChild
from isolet.tasks import Tasks
from isolet.wire.channel import Channel

_DATA_INSIDE = "/data"
_HOST_INSIDE = "/host"
_MB = 1024 * 1024
_FILE_SLACK_BYTES = 64 * _MB
# The kernel's own limit counts address space, so it leaves more room.
_MEMORY_SLACK_BYTES = 1024**3
_LOCK_TIMEOUT_S = 5.0


class LocalStorage:
    """One project's files, process and sockets."""

    def __init__(self, owner: LocalStorages, project_id: ProjectId) -> None:
        self._owner = owner
        self.project_id = project_id
        self._loop = asyncio.get_running_loop()
        self.folder = owner.data / project_id
        for name in PARTS:
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.mount = owner.sockets / project_id.replace("-", "")[:20]
        self.mount.mkdir(exist_ok=True)
        # Beside the folder of the sockets, which instances see.
        self.inside = owner.inside / self.mount.name
        self.inside.mkdir(exist_ok=True)
        self._room = Room(self.folder, lambda: owner.limit_mb(project_id))
        self._answers = Answers(self.inside / HOST_SOCKET, self._room.answer)
        self._kv = Channel(str(self.mount / KV_SOCKET))
        self._database = Channel(str(self.mount / DATABASE_SOCKET))
        self._long = 0
        self._alone = asyncio.Lock()
        watchdog = Watchdog(project_id, self._kv, tasks=owner.tasks, is_excused=self._is_excused)
        listeners = {name: listen(self.mount / name) for name in (KV_SOCKET, DATABASE_SOCKET)}
        self._process = SupervisedChild(
            "storage", project_id, listeners, self._start, watchdog.watch, tasks=owner.tasks
        )

    @property
    def pid(self) -> int | None:
        """The pid of the running process."""
        return self._process.pid

    def way_to(self, kind: StoreKind) -> Channel:
        """Where the stores of a kind answer."""
        return self._kv if kind is StoreKind.KV else self._database

    @contextlib.contextmanager
    def long_work(self) -> Iterator[None]:
        """The watchdog waits for the host's own statements, however long they take."""
        self._long += 1
        try:
            yield
        finally:
            self._long -= 1

    def _is_excused(self) -> bool:
        return self._long > 0 or self._process.is_held

    async def _start(self, listeners: Mapping[str, socket]) -> Child:
        await self._answers.start()
        lock = await self._take_lock()
        try:
            await asyncio.to_thread(self._room.started)
            self._process.check_wanted()
            return self._owner.spawn(self, listeners, lock)
        finally:
            os.close(lock)

    def check_limit(self) -> None:
        """Let files grow as far as they may now. Where they are larger than that, they stay writable."""
        if self._process.child is not None:
            self._process.child.let_files_grow(self._owner.file_max_bytes(self.project_id))

    async def _take_lock(self) -> int:
        """The lock on the files; the child inherits it and keeps it as long as it lives."""
        lock = files.open_lock(self.folder)
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

    @contextlib.asynccontextmanager
    async def paused(self) -> AsyncIterator[Copy]:
        """Nobody writes the files, and the process stands still: one at a time. Calls wait meanwhile."""
        async with self._hold_still():
            child = self._process.child
            try:
                if child is not None:
                    await child.stand_still()
                yield partial(files.copy, self.folder)
            finally:
                if child is not None:
                    child.resume()

    @contextlib.asynccontextmanager
    async def stopped(self) -> AsyncIterator[Replace]:
        """No process is on the files: one at a time. Calls wait meanwhile, those under way fail."""
        async with self._hold_still():
            await self._process.kill()
            self._process.forget_failures()
            yield partial(files.replace, self.folder)

    async def drop(self, kind: StoreKind, name: str) -> None:
        """Delete a store, with all in it. Raises PlatformError for a disk in trouble."""
        async with self._hold_still():
            await self._process.kill()
            self._process.forget_failures()
            try:
                await asyncio.to_thread(files.remove_store, self.folder, SOCKETS[kind], name)
            except OSError as exc:
                raise PlatformError(f"cannot delete {kind.noun} {name!r}: {exc.strerror}") from exc

    @contextlib.asynccontextmanager
    async def _hold_still(self) -> AsyncIterator[None]:
        """No process starts meanwhile."""
        async with self._alone:
            if self._process.is_closed:
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
        self._process.close()
        self._kv.close()
        self._database.close()
        self._answers.detach()
        for folder in (self.mount, self.inside):
            shutil.rmtree(folder, ignore_errors=True)

    async def close(self) -> None:
        if not self._process.is_closed:
            self.detach()
        await self._process.kill()


class LocalStorages:
    """Every project's storage: a folder each in `data`. `limit_mb` tells how much a project may store."""

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
        """Undoes what a replacement that was cut off when the server was killed has left in `data`."""
        self._configs = configs
        self._sandbox = sandbox
        self._pid_files = pid_files
        self._file_max_bytes = database_max_bytes
        self.data = data
        self.sockets = sockets
        self.inside = sockets.with_name("rooms")
        self.limit_mb: Callable[[ProjectId], int] = limit_mb
        self.tasks = Tasks()
        self._in_use = InUse(
            "storage",
            lambda project_id: LocalStorage(self, project_id),
            idle_timeout_s=idle_timeout_s,
            tasks=self.tasks,
        )
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        files.undo_replacements(data)
        for folder in (sockets, self.inside):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)

    def hold(self, project_id: ProjectId) -> LocalStorage:
        """A project's storage, kept working until `release`. Raises NotFound for a project that was deleted."""
        return self._in_use.hold(project_id)

    def release(self, storage: ProjectStorage) -> None:
        self._in_use.release(storage)

    def use(self, project_id: ProjectId) -> AbstractAsyncContextManager[LocalStorage]:
        """A project's storage, for a request of the host's own."""
        return self._in_use.use(project_id)

    async def store_sizes(self, project_id: ProjectId, stores: Sequence[tuple[StoreKind, str]]) -> Sequence[int]:
        """Bytes of each store's database."""
        found = await asyncio.to_thread(files.database_sizes, self.data / project_id)
        return [found.get(files.store_id(SOCKETS[kind], name), 0) for kind, name in stores]

    async def sizes(self, project_ids: Sequence[ProjectId]) -> Sequence[int]:
        """Bytes of all files of each project; 0 for one that stores nothing."""
        return await asyncio.to_thread(files.sizes, self.data, project_ids)

    def staging(self, project_id: ProjectId) -> AbstractContextManager[Path]:
        return files.staging(self.data, project_id)

    async def delete(self, project_id: ProjectId) -> None:
        """Everything the project stored, for good: what still arrives for it makes nothing anew."""
        storage = self._in_use.delete(project_id)
        if storage is not None:
            await storage.close_in_turn()
        await asyncio.to_thread(shutil.rmtree, self.data / project_id, ignore_errors=True)

    async def close(self) -> None:
        await self._in_use.close()
        await self.tasks.close()

    def follow(self, change: Change) -> None:
        """A listener."""
        if isinstance(change, ProjectChanged):
            for storage in self._in_use.services:
                if storage.project_id == change.project.id:
                    storage.check_limit()

    def file_max_bytes(self, project_id: ProjectId) -> int:
        """How large a file of a project may grow.

        A transaction that is undone in the end may fill a log as large as the limit, and no more.
        """
        return min(self._file_max_bytes, self.limit_mb(project_id) * _MB + _FILE_SLACK_BYTES)

    def spawn(self, storage: LocalStorage, listeners: Mapping[str, socket], lock: int) -> Child:
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
            file_max_bytes=self.file_max_bytes(storage.project_id),
            file_most_bytes=self._file_max_bytes,
            memory_max_bytes=MEMORY_MAX_BYTES + _MEMORY_SLACK_BYTES,
        )
        return Child(spec, self._sandbox, self._pid_files)
