"""Backup of a project's stores to one file, and restore from it, while functions run.

The storage process stands still while its files are copied, so what is copied is one moment of all of them. The copy is
then opened and checked like after a power cut, and packed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import json
import shutil
import sqlite3
import tarfile
import tempfile
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO
from urllib.parse import quote

from isolet.errors import InvalidInput, PlatformError, Unavailable
from isolet.ids import ProjectId
from isolet.runtime.storage import Storages

_FOLDERS = ("objects", "blobs")
_MARK = "isolet-backup-1"
_BACKUP, _RESTORE, UPLOAD = ".backup-", ".restore-", ".upload-"
_CHUNK = 1024 * 1024
_DEPTH_MAX = 8
# What is no fault of the file.
_DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE, errno.EROFS)
_NO_BACKUP = "the file is not a backup that Isolet made"


class Backups:
    """`folder` is for temporary files: what is left in it when the server is killed goes at the next start."""

    def __init__(self, storages: Storages) -> None:
        self._storages = storages
        self.folder = storages.data
        tidy(self.folder)

    @contextlib.asynccontextmanager
    async def create(self, project_id: ProjectId) -> AsyncIterator[Path]:
        """A tar file of the project's KV and SQL, there as long as the context is.

        Raises Unavailable when there is no room for it.
        """
        with _room("back up"), tempfile.TemporaryDirectory(dir=self._storages.data, prefix=_BACKUP) as scratch:
            copy = Path(scratch) / "copy"
            async with self._storages.use(project_id) as storage, storage.paused() as folder:
                await asyncio.to_thread(_copy, folder, copy)
            file = Path(scratch) / "backup.tar"
            await asyncio.to_thread(_pack, copy, file)
            yield file

    @contextlib.contextmanager
    def upload(self) -> Iterator[IO[bytes]]:
        """A temporary file with a name. Raises Unavailable when there is no room for it."""
        with _room("restore"), tempfile.NamedTemporaryFile(dir=self.folder, prefix=UPLOAD) as file:
            yield file

    async def restore(self, project_id: ProjectId, file: Path) -> None:
        """Put the stores back to what `file` holds. Raises InvalidInput for a file that is no backup.

        Calls to the stores wait meanwhile; those under way fail.
        """
        prefix = f"{_RESTORE}{project_id}."
        with _room("restore"), tempfile.TemporaryDirectory(dir=self._storages.data, prefix=prefix) as scratch:
            fresh = Path(scratch) / "fresh"
            await asyncio.to_thread(_unpack, file, fresh)
            async with self._storages.use(project_id) as storage, storage.stopped() as folder:
                await asyncio.to_thread(_swap, fresh, folder, Path(scratch) / "old")


@contextlib.contextmanager
def _room(work: str) -> Iterator[None]:
    """Raises Unavailable for a disk in trouble."""
    try:
        yield
    except OSError as exc:
        raise Unavailable(f"cannot {work} the stores: {exc.strerror or 'a file cannot be copied'}") from exc
    except sqlite3.OperationalError as exc:
        raise Unavailable(f"cannot {work} the stores: {exc}") from exc


def tidy(data: Path) -> None:
    """Remove what backups and restores that were cut off left; a restore that was in the midst is undone."""
    for scratch in data.glob(f"{_RESTORE}*"):
        if any((scratch / "fresh" / name).exists() for name in _FOLDERS):
            _swap_back(scratch, data / scratch.name.removeprefix(_RESTORE).split(".")[0])
    for prefix in (_BACKUP, _RESTORE, UPLOAD):
        for left in data.glob(f"{prefix}*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def _swap_back(scratch: Path, folder: Path) -> None:
    for name in _FOLDERS:
        if (scratch / "old" / name).exists():
            if (folder / name).exists():
                (folder / name).rename(scratch / f"undone-{name}")
            (scratch / "old" / name).rename(folder / name)


def _copy(folder: Path, target: Path) -> None:
    for name in _FOLDERS:
        shutil.copytree(folder / name, target / name)


def _pack(copy: Path, file: Path) -> None:
    for database in copy.rglob("*.sqlite"):
        _settle(database)
    files = [path for path in copy.rglob("*") if path.is_file()]
    figures = {"files": len(files), "bytes": sum(path.stat().st_size for path in files), "crc32": _checksum(copy)}
    manifest = json.dumps(figures).encode()
    mark = tarfile.TarInfo(_MARK)
    mark.size = len(manifest)
    with tarfile.open(file, "w") as archive:
        archive.addfile(mark, io.BytesIO(manifest))
        for name in _FOLDERS:
            archive.add(copy / name, arcname=name)


def _checksum(folder: Path) -> int:
    """Of the names and contents of all files, in no order."""
    total = 0
    for path in folder.rglob("*"):
        if path.is_file():
            crc = zlib.crc32(str(path.relative_to(folder)).encode())
            with path.open("rb") as file:
                while part := file.read(_CHUNK):
                    crc = zlib.crc32(part, crc)
            total += crc
    return total


def _settle(database: Path) -> None:
    """Fold the write-ahead log in, and check the whole. Raises PlatformError for a copy that is not sound."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode=DELETE")
        (sound,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if sound != "ok":
        raise PlatformError(f"cannot back up {database.name}: {sound}")


def _unpack(file: Path, target: Path) -> None:
    """Unpack what `_pack` made, and nothing else: it may come from anywhere, cut off or changed."""
    for name in _FOLDERS:
        (target / name).mkdir(parents=True)
    try:
        with tarfile.open(file, "r:") as archive:
            mark, *members = archive.getmembers() or [tarfile.TarInfo()]
            if mark.name != _MARK:
                raise InvalidInput(f"{_NO_BACKUP}: it does not begin with {_MARK}")
            manifest = json.loads(archive.extractfile(mark).read())  # type: ignore[union-attr]
            strange = next((member.name for member in members if not _is_ours(member)), None)
            if strange is not None:
                raise InvalidInput(f"{_NO_BACKUP}: it holds {strange!r}")
            sizes = [member.size for member in members if member.isfile()]
            # Backups of earlier versions have none.
            checksum = manifest.pop("crc32", None) if isinstance(manifest, dict) else None
            if manifest != {"files": len(sizes), "bytes": sum(sizes)}:
                raise InvalidInput(f"{_NO_BACKUP}: it is not complete")
            for member in members:
                member.mode = 0o600
            archive.extractall(target, members, filter="data")
        if checksum is not None and checksum != _checksum(target):
            raise InvalidInput(f"{_NO_BACKUP}: it is damaged")
        for database in target.rglob("*.sqlite"):
            _check(database)
    except OSError as exc:
        if exc.errno in _DISK_TROUBLE:
            raise Unavailable(f"cannot unpack the backup: {exc.strerror}") from exc
        raise InvalidInput(f"{_NO_BACKUP}: {exc.strerror or exc}") from exc
    except (tarfile.TarError, EOFError, ValueError, sqlite3.Error) as exc:
        raise InvalidInput(f"{_NO_BACKUP}: {exc}") from exc


def _is_ours(member: tarfile.TarInfo) -> bool:
    """A plain file in a namespace of the stores, or a folder."""
    first, *below = member.name.split("/")
    if first not in _FOLDERS or ".." in below or len(below) > _DEPTH_MAX:
        return False
    return member.isdir() or (member.isreg() and not member.issparse() and len(below) > 1)


def _check(database: Path) -> None:
    """Raises InvalidInput, or sqlite3.Error, for a file that is not a sound database."""
    with contextlib.closing(
        sqlite3.connect(f"file:{quote(str(database))}?mode=ro&immutable=1", uri=True)
    ) as connection:
        connection.execute("PRAGMA trusted_schema=OFF")
        (sound,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if sound != "ok":
        raise InvalidInput(f"{_NO_BACKUP}: {database.name} is damaged: {sound}")


def _swap(fresh: Path, folder: Path, old: Path) -> None:
    old.mkdir()
    for name in _FOLDERS:
        (folder / name).rename(old / name)
        (fresh / name).rename(folder / name)
