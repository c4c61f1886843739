"""Where a file or folder is, told so that a copy of it can be told from it.

A copy has a number of its own. What is moved within its file system keeps its number; what is moved to another, or put
back from a backup, is a copy as far as anybody can tell.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@cache
def boot_id() -> str:
    """Which start of the machine this is."""
    return _BOOT_ID.read_text().strip()


def place_of(path: Path) -> str:
    """Device and inode; with them the file system and this start of the machine. Raises OSError."""
    status = path.stat()
    return f"{status.st_dev} {status.st_ino} {os.statvfs(path).f_fsid} {boot_id()}"


def same_place(before: str, now: str) -> bool:
    """Whether two texts of `place_of` mean one file. A machine may number its devices anew when it starts."""
    parts, others = before.split(), now.split()
    if len(parts) != 4 or len(others) != 4 or parts[1] != others[1]:
        return False
    return parts[0] == others[0] or (parts[3] != others[3] and parts[2] == others[2])
