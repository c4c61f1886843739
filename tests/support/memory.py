"""A folder in memory for what tests write: they end processes, never the machine, so nothing needs a disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_FOLDER = Path("/dev/shm")
_ROOM_BYTES = 2 * 1024**3


def memory_folder() -> Path | None:
    """None where there is none, or where it has less than 2 GiB free."""
    if not os.access(_FOLDER, os.W_OK) or shutil.disk_usage(_FOLDER).free < _ROOM_BYTES:
        return None
    return _FOLDER
