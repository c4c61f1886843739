"""Backup of a project's stores to one file, and restore from it, while functions run.

The storage process stands still while its files are copied, so what is copied is one moment of all of them. The copy is
then opened and checked like after a power cut, and packed. A file that is to be
restored is not believed, and databases are opened in a process of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import json
import shutil
import stat
import tarfile
import tempfile
import zlib
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, ParamSpec, TypeVar

from msgspec import Struct

from isolet.domain.stores import StoreKind, check_store
from isolet.errors import InvalidInput, PlatformError, TooLarge, TooManyRequests, Unavailable
from isolet.ids import ProjectId
from isolet.project_data.archive import NO_BACKUP, Member, members
from isolet.project_data.soundness import Soundness
from isolet.project_data.stores import Stores
from isolet.runtime.storage.port import PARTS, ProjectStorages

P = ParamSpec("P")
T = TypeVar("T")
_MARK = "isolet-backup-1"
TEMPORARY, UPLOAD = ".backup-", ".upload-"
_CHUNK = 1024 * 1024
_DEPTH_MAX = 8
# With the names of as many stores as a project may have.
_MANIFEST_MAX_BYTES = 16_384
_ROOM_BYTES = 20 * 1024**3
# A file system has a place for a file or a folder for so many bytes: who may fill a part of the disk may take as large
# a part of its places. Stores of all names, each empty, need some hundred.
_PLACE_BYTES = 16_384
_PLACES_LEAST = 2_000
_RETRY_AFTER_S = 10
_ENDS_S = 1.0
_THREADS = 2
# What is no fault of the file.
_DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE, errno.EROFS)


class Upload(Struct, frozen=True, kw_only=True):
    """A file that comes in, of at most `max_bytes`."""

    project_id: ProjectId
    file: IO[bytes]
    max_bytes: int


class Backups:
    """`folder` is for temporary files: what is left in it when the server is killed goes at the next start.

    Of a project one backup or restore is under way at a time. `room` tells how many bytes its stores may hold, `stores`
    knows them by their names, where they have any.
    """

    def __init__(
        self,
        storages: ProjectStorages,
        soundness: Soundness,
        *,
        folder: Path,
        room: Callable[[ProjectId], int] = lambda _: _ROOM_BYTES,
        stores: Stores | None = None,
    ) -> None:
        self._stores = stores
        self._storages = storages
        self._soundness = soundness
        self._room = room
        # What tells that the one of a project has ended.
        self._busy: dict[ProjectId, asyncio.Event] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="isolet-backup")
        self._folder = folder
        tidy(folder)

    @contextlib.asynccontextmanager
    async def create(self, project_id: ProjectId) -> AsyncIterator[Path]:
        """A tar file of the project's KV and SQL, there as long as the context is.

        Raises Unavailable when there is no room for it, TooManyRequests while another is under way.
        """
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._alone(project_id))
            stack.enter_context(_room("back up"))
            scratch = stack.enter_context(tempfile.TemporaryDirectory(dir=self._folder, prefix=TEMPORARY))
            copy = Path(scratch) / "copy"
            async with self._storages.use(project_id) as storage, storage.paused() as copy_to:
                await self._in_thread(copy_to, copy)
            await self._soundness.settle(copy)
            file = Path(scratch) / "backup.tar"
            names = {} if self._stores is None else await self._stores.names(project_id)
            await self._in_thread(_pack, copy, file, names)
            yield file

    @contextlib.asynccontextmanager
    async def upload(self, project_id: ProjectId) -> AsyncIterator[Upload]:
        """A place for the file that is to be restored.

        Raises Unavailable when there is no room for it, TooManyRequests while another is under way.
        """
        async with self._alone(project_id):
            with _room("restore"), tempfile.NamedTemporaryFile(dir=self._folder, prefix=UPLOAD) as file:
                yield Upload(project_id=project_id, file=file, max_bytes=2 * self._room(project_id))

    async def restore(self, upload: Upload) -> None:
        """Put the stores back to what was uploaded. Raises InvalidInput for a file that is no backup.

        Calls to the stores wait meanwhile; those under way fail.
        """
        with _room("restore"), self._storages.staging(upload.project_id) as fresh:
            room = self._room(upload.project_id)
            names = await self._in_thread(unpack, upload.file, fresh, room)
            try:
                await self._soundness.check(fresh)
            except InvalidInput as exc:
                raise InvalidInput(f"{NO_BACKUP}: {exc.message}") from exc
            if self._stores is not None:
                await self._stores.name(upload.project_id, names)
            async with self._storages.use(upload.project_id) as storage, storage.stopped() as replace:
                await self._in_thread(replace, fresh)

    async def write(self, upload: Upload, part: bytes) -> None:
        """The next part of a file that comes in."""
        await self._in_thread(upload.file.write, part)

    async def _in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """In threads of their own, so that much to copy delays nothing else."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *args, **kwargs))

    @contextlib.asynccontextmanager
    async def _alone(self, project_id: ProjectId) -> AsyncIterator[None]:
        """Who has just read the last byte of a backup may go on at once: the file of it goes a moment later."""
        try:
            async with asyncio.timeout(_ENDS_S):
                while (other := self._busy.get(project_id)) is not None:
                    await other.wait()
        except TimeoutError:
            raise TooManyRequests(
                "A backup or a restore of this project is under way", retry_after_s=_RETRY_AFTER_S
            ) from None
        ended = self._busy[project_id] = asyncio.Event()
        try:
            yield
        finally:
            del self._busy[project_id]
            ended.set()


@contextlib.contextmanager
def _room(work: str) -> Iterator[None]:
    """Raises Unavailable for a disk in trouble."""
    try:
        yield
    except OSError as exc:
        raise Unavailable(f"cannot {work} the stores: {exc.strerror or 'a file cannot be copied'}") from exc


def tidy(folder: Path) -> None:
    """Remove what backups and restores that were cut off left."""
    for prefix in (TEMPORARY, UPLOAD):
        for left in folder.glob(f"{prefix}*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def _pack(copy: Path, file: Path, names: Mapping[str, Sequence[str]]) -> None:
    """Each file leaves the copy once it is packed. `names` are those of the stores, by kind."""
    files = _plain_files(copy)
    figures = {
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
        "crc32": _checksum(copy, files),
        "stores": names,
    }
    manifest = json.dumps(figures).encode()
    mark = tarfile.TarInfo(_MARK)
    mark.size = len(manifest)
    with tarfile.open(file, "w") as archive:
        archive.addfile(mark, io.BytesIO(manifest))
        for folder in (path for path in sorted(copy.rglob("*")) if path.is_dir()):
            archive.add(folder, arcname=str(folder.relative_to(copy)), recursive=False)
        for path in files:
            archive.add(path, arcname=str(path.relative_to(copy)), recursive=False)
            path.unlink()


def _plain_files(folder: Path) -> list[Path]:
    """Raises PlatformError for a link or the like: what opened the databases in the folder may have left one."""
    found = []
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            found.append(path)
        elif not stat.S_ISDIR(mode):
            raise PlatformError(f"cannot back up the stores: {path.name!r} is no plain file of theirs")
    return found


def _checksum(folder: Path, files: Sequence[Path]) -> int:
    """Of the names and contents of the files, in no order."""
    total = 0
    for path in files:
        crc = zlib.crc32(str(path.relative_to(folder)).encode())
        with path.open("rb") as file:
            while part := file.read(_CHUNK):
                crc = zlib.crc32(part, crc)
        total += crc
    return total


def unpack(file: IO[bytes], target: Path, room_bytes: int) -> Collection[tuple[StoreKind, str]]:
    """Unpack what `_pack` made, and nothing else: it may come from anywhere, cut off or changed. The stores' names."""
    for name in PARTS:
        (target / name).mkdir(parents=True)
    file.seek(0)
    try:
        found = members(file)
        manifest = _manifest(found)
        if manifest.bytes > room_bytes:
            raise TooLarge(f"the backup holds {manifest.bytes} bytes, and the project may store {room_bytes}")
        counted, crc32 = _Manifest(files=0, bytes=0, crc32=None, stores=()), 0
        places, places_max = 0, max(room_bytes // _PLACE_BYTES, _PLACES_LEAST)
        for member in found:
            if not _is_ours(member):
                raise InvalidInput(f"{NO_BACKUP}: it holds {member.name!r}")
            # Its folders may be there already, or not.
            places += member.name.count("/") + 1
            if places > places_max:
                raise TooLarge(f"the backup holds more files and folders than the project may store: {places_max}")
            if member.is_folder:
                (target / member.name).mkdir(parents=True, exist_ok=True)
            else:
                counted.files += 1
                counted.bytes += member.size
                if counted.bytes > manifest.bytes or counted.files > manifest.files:
                    raise InvalidInput(f"{NO_BACKUP}: it holds more than it says")
                crc32 += _write(member, target)
        if (counted.files, counted.bytes) != (manifest.files, manifest.bytes):
            raise InvalidInput(f"{NO_BACKUP}: it is not complete")
        # Backups of earlier versions have no checksum.
        if manifest.crc32 is not None and manifest.crc32 != crc32:
            raise InvalidInput(f"{NO_BACKUP}: it is damaged")
        return manifest.stores
    except OSError as exc:
        if exc.errno in _DISK_TROUBLE:
            raise Unavailable(f"cannot unpack the backup: {exc.strerror}") from exc
        raise InvalidInput(f"{NO_BACKUP}: {exc.strerror or exc}") from exc
    except ValueError as exc:
        raise InvalidInput(f"{NO_BACKUP}: {exc}") from exc


class _Manifest(Struct, kw_only=True):
    files: int
    bytes: int
    crc32: int | None
    stores: Collection[tuple[StoreKind, str]]


def _manifest(found: Iterator[Member]) -> _Manifest:
    """What the first member says. Raises InvalidInput."""
    mark = next(found, None)
    if mark is None or mark.name != _MARK or mark.is_folder:
        raise InvalidInput(f"{NO_BACKUP}: it does not begin with {_MARK}")
    try:
        told = json.loads(mark.content(_MANIFEST_MAX_BYTES))
    except RecursionError as exc:
        raise InvalidInput(f"{NO_BACKUP}: it says nothing of itself") from exc
    figures = told if isinstance(told, dict) else {}
    files, size, crc32 = (figures.get(name) for name in ("files", "bytes", "crc32"))
    if type(files) is not int or type(size) is not int or not (crc32 is None or type(crc32) is int):
        raise InvalidInput(f"{NO_BACKUP}: it says nothing of itself")
    return _Manifest(files=files, bytes=size, crc32=crc32, stores=_store_names(figures.get("stores", {})))


def _store_names(told: object) -> set[tuple[StoreKind, str]]:
    """Backups of earlier versions tell none. Raises InvalidInput."""
    try:
        listed = {StoreKind(kind): names for kind, names in dict(told).items()}  # type: ignore[call-overload]
        return {(kind, check_store(kind, name)) for kind, names in listed.items() for name in list(names)}
    except (TypeError, ValueError, InvalidInput) as exc:
        raise InvalidInput(f"{NO_BACKUP}: it names its stores wrongly") from exc


def _write(member: Member, target: Path) -> int:
    """The checksum of its name and content."""
    path = target / member.name
    path.parent.mkdir(parents=True, exist_ok=True)
    crc = zlib.crc32(member.name.encode())
    with path.open("xb") as file:
        for part in member.parts():
            crc = zlib.crc32(part, crc)
            file.write(part)
    return crc


def _is_ours(member: Member) -> bool:
    """A plain file in a namespace of the stores, or a folder."""
    first, *below = member.name.split("/")
    if first not in PARTS or len(below) > _DEPTH_MAX or any(part in ("", ".", "..") for part in below):
        return False
    return member.is_folder or len(below) > 1
