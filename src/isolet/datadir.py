"""The data directory: locked against a second server, and the folders and keys in it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from isolet.errors import SettingsError

# A unix socket's address holds 107 bytes; below the run folder ours need up to 40.
_RUN_PATH_MAX = 67


@contextmanager
def locked(path: Path) -> Iterator[Path]:
    """The directory as an absolute path, made when missing. Raises SettingsError when another server runs on it."""
    path = path.absolute()
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise SettingsError(f"cannot use {path} as data directory: {exc.strerror}") from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _close_database(path)
        yield path
    except BlockingIOError as exc:
        raise SettingsError(f"cannot use {path}: another Isolet server runs on it") from exc
    finally:
        os.close(lock)


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
    try:
        run.mkdir(mode=0o700, exist_ok=True)
    except OSError as exc:
        raise SettingsError(f"cannot use {run}: {exc.strerror}") from exc
    owner = run.stat()
    if owner.st_uid != os.getuid() or owner.st_mode & 0o077:
        raise SettingsError(f"cannot use {run}: it must belong to this user and be closed to others")
    return run
