"""The files of a project's stores: how they are copied, replaced whole, and counted.

A sandboxed process writes them, so no link is followed.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from isolet.errors import PlatformError
from isolet.ids import ProjectId
from isolet.runtime.config import DATABASE_SOCKET, KV_SOCKET, unique_key
from isolet.runtime.storage.port import PARTS

_RESTORE = ".restore-"
_FRESH, _OLD = "fresh", "old"
_CHUNK = 1024 * 1024
_DEPTH_MAX = 8
_HALF_BYTES = 16
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def staging(data: Path, project_id: ProjectId) -> Iterator[Path]:
    """On the file system of the stores, so that files are moved from there and not copied."""
    with tempfile.TemporaryDirectory(dir=data, prefix=f"{_RESTORE}{project_id}.") as scratch:
        yield Path(scratch) / _FRESH


def replace(folder: Path, fresh: Path) -> None:
    """Put the parts in `fresh`, which `staging` gave, in the place of those in `folder`: all or, on OSError, none."""
    old = fresh.with_name(_OLD)
    old.mkdir()
    try:
        for name in PARTS:
            (folder / name).rename(old / name)
            (fresh / name).rename(folder / name)
    except OSError:
        _swap_back(fresh.parent, folder)
        raise


def undo_replacements(data: Path) -> None:
    """Undo each replacement in `data` that was in the midst when the server was killed, and remove what all left."""
    for scratch in data.glob(f"{_RESTORE}*"):
        if any((scratch / _FRESH / name).exists() for name in PARTS):
            _swap_back(scratch, data / scratch.name.removeprefix(_RESTORE).split(".")[0])
        shutil.rmtree(scratch) if scratch.is_dir() else scratch.unlink()


def _swap_back(scratch: Path, folder: Path) -> None:
    for name in PARTS:
        if (scratch / _OLD / name).exists():
            if (folder / name).exists():
                (folder / name).rename(scratch / f"undone-{name}")
            (scratch / _OLD / name).rename(folder / name)


def open_lock(folder: Path) -> int:
    """A descriptor of the file that says who is on the files. Raises OSError."""
    path, flags = folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except OSError as exc:
        if exc.errno != errno.ELOOP:
            raise
        # The next process would be handed whatever file of the server's the one before has linked there.
        path.unlink()
        return os.open(path, flags, 0o600)


def copy(folder: Path, target: Path) -> None:
    """Raises PlatformError for what is no plain file or folder of its own: a link may lead anywhere."""
    target.mkdir()
    at = os.open(folder, _FOLDER_FLAGS)
    try:
        for name in PARTS:
            _copy_folder(name, at, target / name, 0)
    finally:
        os.close(at)


def _copy_folder(name: str, at: int, target: Path, depth: int) -> None:
    if depth > _DEPTH_MAX:
        raise _strange(name)
    try:
        here = os.open(name, _FOLDER_FLAGS, dir_fd=at)
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.ENOTDIR):
            raise _strange(name) from exc
        raise
    try:
        target.mkdir()
        with os.scandir(here) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    _copy_folder(entry.name, here, target / entry.name, depth + 1)
                else:
                    _copy_file(entry.name, here, target / entry.name)
    finally:
        os.close(here)


def _copy_file(name: str, at: int, target: Path) -> None:
    try:
        # Without waiting: a pipe would wait for its other end.
        source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.ENXIO):
            raise _strange(name) from exc
        raise
    with open(source, "rb") as file:
        found = os.fstat(source)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise _strange(name)
        with target.open("xb") as written:
            shutil.copyfileobj(file, written, _CHUNK)


def _strange(name: str) -> PlatformError:
    return PlatformError(f"cannot back up the stores: {name!r} is no plain file of theirs")


def sizes(data: Path, project_ids: Sequence[ProjectId]) -> list[int]:
    """In bytes, of each project's files in `data`; 0 for one that has none."""
    return [bytes_below(data / project_id) for project_id in project_ids]


def bytes_below(folder: Path) -> int:
    """The size of all files below a folder, which a process changes meanwhile; links are not followed."""
    total, folders = 0, [str(folder)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        total += _size(entry)
        except OSError:
            continue
    return total


def store_id(socket: str, name: str) -> str:
    """What the runtime calls the database of a store, by its rule for the names of objects; files are named so."""
    key = hashlib.sha256(unique_key(socket).encode()).digest()
    own = hmac.digest(key, name.encode(), "sha256")[:_HALF_BYTES]
    return (own + hmac.digest(key, own, "sha256")[:_HALF_BYTES]).hex()


def database_sizes(folder: Path) -> dict[str, int]:
    """Bytes of each database of a project's stores, with what it has not folded in, by the id of the store."""
    sizes_: dict[str, int] = {}
    for socket in (KV_SOCKET, DATABASE_SOCKET):
        for name, size in _files_in(folder / PARTS[0] / unique_key(socket)):
            id_ = name.partition(".")[0]
            sizes_[id_] = sizes_.get(id_, 0) + size
    return sizes_


def remove_store(folder: Path, socket: str, name: str) -> None:
    """Delete a store's database and the values in files. No process is on them.

    Raises PlatformError where a link stands, which a broken process may have made: to files of another project.
    """
    id_ = store_id(socket, name)
    for part, below in ((PARTS[0], unique_key(socket)), (PARTS[1], "")):
        here = folder / part / below
        if (folder / part).is_symlink() or here.is_symlink():
            raise PlatformError(f"{part!r} is no folder of the stores")
        for found, _ in _files_in(here):
            if found == id_ or found.startswith(id_ + "."):
                _remove(here / found)


def _remove(path: Path) -> None:
    # It removes a link, and follows none.
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _files_in(folder: Path) -> list[tuple[str, int]]:
    """The names and sizes of what is in a folder."""
    try:
        with os.scandir(folder) as entries:
            return [(entry.name, _size(entry)) for entry in entries]
    except OSError:
        return []


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:
        # It was deleted since.
        return 0
