"""Backup of a project's stores to one file, and restore from it, while functions run.

The storage process stands still while its files are copied, so what is copied is one moment of all of them. The copy is
then opened and checked like after a power cut, and packed.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from isolet.errors import InvalidInput, PlatformError
from isolet.ids import ProjectId
from isolet.runtime.storage import Storages

_FOLDERS = ("objects", "blobs")
_MARK = "isolet-backup-1"


class Backups:
    def __init__(self, storages: Storages) -> None:
        self._storages = storages

    @contextlib.asynccontextmanager
    async def create(self, project_id: ProjectId) -> AsyncIterator[Path]:
        """A tar file of the project's KV and SQL, there as long as the context is."""
        with tempfile.TemporaryDirectory(dir=self._storages.data, prefix=".backup-") as scratch:
            copy = Path(scratch) / "copy"
            async with self._storages.use(project_id) as storage, storage.paused() as folder:
                await asyncio.to_thread(_copy, folder, copy)
            file = Path(scratch) / "backup.tar"
            await asyncio.to_thread(_pack, copy, file)
            yield file

    async def restore(self, project_id: ProjectId, file: Path) -> None:
        """Put the stores back to what `file` holds. Raises InvalidInput for a file that is no backup.

        Calls to the stores wait meanwhile; those under way fail.
        """
        with tempfile.TemporaryDirectory(dir=self._storages.data, prefix=".restore-") as scratch:
            fresh = Path(scratch) / "fresh"
            await asyncio.to_thread(_unpack, file, fresh)
            async with self._storages.use(project_id) as storage, storage.stopped() as folder:
                await asyncio.to_thread(_swap, fresh, folder, Path(scratch) / "old")


def _copy(folder: Path, target: Path) -> None:
    for name in _FOLDERS:
        shutil.copytree(folder / name, target / name)


def _pack(copy: Path, file: Path) -> None:
    for database in copy.rglob("*.sqlite"):
        _settle(database)
    with tarfile.open(file, "w") as archive:
        archive.addfile(tarfile.TarInfo(_MARK))
        for name in _FOLDERS:
            archive.add(copy / name, arcname=name)


def _settle(database: Path) -> None:
    """Fold the write-ahead log in, and check the whole. Raises PlatformError for a copy that is not sound."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode=DELETE")
        (sound,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if sound != "ok":
        raise PlatformError(f"cannot back up {database.name}: {sound}")


def _unpack(file: Path, target: Path) -> None:
    target.mkdir()
    try:
        with tarfile.open(file) as archive:
            if archive.next() is None or archive.getnames()[0] != _MARK:
                raise InvalidInput("the file is not a backup that Isolet made")
            archive.extractall(target, filter="data")
    except (tarfile.TarError, EOFError) as exc:
        raise InvalidInput(f"the file is not a backup that Isolet made: {exc}") from exc
    for name in _FOLDERS:
        (target / name).mkdir(exist_ok=True)


def _swap(fresh: Path, folder: Path, old: Path) -> None:
    old.mkdir()
    for name in _FOLDERS:
        (folder / name).rename(old / name)
        (fresh / name).rename(folder / name)
