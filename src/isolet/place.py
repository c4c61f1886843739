"""Where a file or folder is, told so that a copy of it can be told from it.

A copy has a number of its own. What is moved within its file system keeps its number; what is moved to another, or put
back from a backup, is a copy as far as anybody can tell.
"""

from __future__ import annotations

import ctypes
import os
import struct
from functools import cache
from pathlib import Path
from typing import Any

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PARTS = 5
_UNKNOWN = "-"
# linux/stat.h.
_AT_FDCWD, _STATX_BTIME = -100, 0x800
_STATX_BYTES, _BTIME_AT = 256, 80


@cache
def boot_id() -> str:
    """Which start of the machine this is."""
    return _BOOT_ID.read_text().strip()


def place_of(path: Path) -> str:
    """Device and inode; with them the file system, this start of the machine, and when it was made. Raises OSError.

    What is deleted and put back often gets the same inode, so its age tells it apart.
    """
    status = path.stat()
    return f"{status.st_dev} {status.st_ino} {os.statvfs(path).f_fsid} {boot_id()} {_born(path)}"


def same_place(before: str, now: str) -> bool:
    """Whether two texts of `place_of` mean one file. A machine may number its devices anew when it starts.

    Earlier versions did not note when it was made.
    """
    parts, others = before.split(), now.split()
    if not 4 <= len(parts) <= _PARTS or len(others) != _PARTS or parts[1] != others[1]:
        return False
    if len(parts) == _PARTS and _UNKNOWN not in (parts[-1], others[-1]) and parts[-1] != others[-1]:
        return False
    return parts[0] == others[0] or (parts[3] != others[3] and parts[2] == others[2])


def _born(path: Path) -> str:
    """In seconds, where the file system tells.

    Not by a descriptor of the file: to close one gives up the locks that SQLite has on it.
    """
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    try:
        failed = _libc().statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, buffer)
    except AttributeError:
        return _UNKNOWN
    (told,) = struct.unpack_from("=I", buffer, 0)
    if failed or not told & _STATX_BTIME:
        return _UNKNOWN
    seconds, nanoseconds = struct.unpack_from("=qI", buffer, _BTIME_AT)
    return f"{seconds}.{nanoseconds:09}"


@cache
def _libc() -> Any:
    return ctypes.CDLL(None)
