"""The data directory: locked against a second server, and the folders and keys in it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import uname
from pathlib import Path

from msgspec import Struct

from isolet import keyfile
from isolet.errors import SettingsError
from isolet.ids import new_id
from isolet.place import place_of, same_place
from isolet.telemetry import get_logger

log = get_logger("datadir")

_MACHINE_ID = Path("/etc/machine-id")
# A file that is there while a backup takes the place of what was there, and how folders for that begin.
_RESTORING = "restoring"
RESTORE_PREFIX = ".restore-"

# A unix socket's address holds 107 bytes; below the run folder ours need up to 40.
_RUN_PATH_MAX = 67


@contextmanager
def locked(path: Path, *, to_restore: bool = False) -> Iterator[Path]:
    """The directory as an absolute path, made when missing. What a restore that was killed left is removed.

    Raises SettingsError when another server runs on it, and after a restore that was cut off half-way, unless it is
    for another one.
    """
    path = path.absolute()
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise SettingsError(f"cannot use {path} as data directory: {exc.strerror}") from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with _locked_folder(path):
            if (path / _RESTORING).exists() and not to_restore:
                raise SettingsError(f"cannot use {path}: a restore into it was cut off; run isolet restore again")
            for left in path.glob(f"{RESTORE_PREFIX}*"):
                shutil.rmtree(left, ignore_errors=True)
            _close_database(path)
            yield path
    except BlockingIOError as exc:
        raise SettingsError(f"cannot use {path}: another Isolet server runs on it") from exc
    finally:
        os.close(lock)


@contextmanager
def _locked_folder(path: Path) -> Iterator[None]:
    """The folder itself, too: who removes the file `lock` would let in a second server, which ends what the first runs.

    Raises BlockingIOError.
    """
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError as exc:
            log.debug("a file system that locks no folders", error=str(exc))
        yield
    finally:
        os.close(folder)


def begin_restore(data: Path) -> None:
    """From here on no server starts on it until `end_restore`: neither what was there nor what is new is whole."""
    (data / _RESTORING).touch(0o600)
    keyfile.sync(data)


def end_restore(data: Path) -> None:
    (data / _RESTORING).unlink()


class ServerName(Struct, frozen=True, kw_only=True):
    """What a server is called among those that share its database; `copied` when the folder brought another's along."""

    name: str
    copied: bool


def server_name(data: Path) -> ServerName:
    """The name of the server that has this directory, for as long as it has it; a copy of it takes a new one.

    Raises SettingsError when its file cannot be read or written.
    """
    file, here = data / "server-id", _here(data)
    text, _ = keyfile.load_or_create(file, lambda: f"{new_id()}\n{here}")
    name, _, place = text.partition("\n")
    machine, _, folder = place.partition(" ")
    # Earlier versions wrote the name alone.
    copied = bool(place) and not (machine == here.partition(" ")[0] and same_place(folder, here.partition(" ")[2]))
    if copied:
        name = new_id()
    if text != f"{name}\n{here}":
        try:
            keyfile.write(file, f"{name}\n{here}")
        except OSError as exc:
            raise SettingsError(f"cannot use {file}: {exc.strerror}") from exc
    return ServerName(name=name, copied=copied)


def _here(data: Path) -> str:
    """The machine, which images of disks do not tell apart by the folder, and the folder."""
    machine = uname().nodename
    with suppress(OSError):
        machine += _MACHINE_ID.read_text()
    return f"{hashlib.sha256(machine.encode()).hexdigest()[:16]} {place_of(data)}"


def _close_database(path: Path) -> None:
    """Earlier versions made the database's files readable by all."""
    for file in path.glob("isolet.db*"):
        with suppress(PermissionError):
            file.chmod(0o600)


def run_folder(data: Path) -> Path:
    """Where sockets and pids live: in the data directory, unless its path is too long for a socket's address.

    Raises SettingsError when it cannot be made, or others may write there.
    """
    run = data / "run"
    if len(os.fsencode(run)) > _RUN_PATH_MAX:
        run = Path(tempfile.gettempdir()) / f"isolet-{hashlib.sha256(os.fsencode(data)).hexdigest()[:16]}"
        if len(os.fsencode(run)) > _RUN_PATH_MAX:
            # The usual folders cannot be written, so that this one is the working directory or a long TMPDIR.
            raise SettingsError(f"cannot use {data} as data directory: its path, and that of {run}, is too long")
    try:
        run.mkdir(mode=0o700, exist_ok=True)
    except OSError as exc:
        raise SettingsError(f"cannot use {run}: {exc.strerror}") from exc
    # A link would lead to where others may have put it.
    owner = run.lstat()
    if not stat.S_ISDIR(owner.st_mode) or owner.st_uid != os.getuid() or owner.st_mode & 0o077:
        raise SettingsError(f"cannot use {run}: it must belong to this user and be closed to others")
    return run
