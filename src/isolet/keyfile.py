"""Keys that are made once and kept in the data directory, readable by the operator only."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from isolet.errors import SettingsError


def load_or_create(path: Path, make: Callable[[], str]) -> tuple[str, bool]:
    """The key in `path`, and whether it was made just now. It is on disk before it is used.

    Raises SettingsError when the file cannot be read or written.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            if key := path.read_text().strip():
                return key, False
        key = make()
        write(path, key)
    except OSError as exc:
        raise SettingsError(f"cannot use {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise SettingsError(f"cannot use {path}: it holds no text") from exc
    return key, True


def write(path: Path, key: str) -> None:
    """Put a key in place of what was there, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    sync(path.parent)


def sync(folder: Path) -> None:
    """Have on disk which files are in a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
