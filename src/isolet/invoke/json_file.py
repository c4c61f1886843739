"""Says whether a file is JSON, in a process of its own: a thread would keep the interpreter from the calls that run.

The process gets the file's descriptor, and loads nothing but this module and the checker.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from isolet.domain.json_text import judge

_PART_BYTES = 131_072
_NICER = 5
_CODE = "import sys; sys.path[:0] = [sys.argv[1]]; from isolet.invoke.json_file import main; main(*sys.argv[2:])"
_ROOT = str(Path(__file__).parents[2])


def command(fd: int, values_max: int | None) -> list[str]:
    """Checks what the descriptor `fd` reads, which the process must inherit, and exits with a `Verdict`."""
    # Without site packages, and nothing from the environment or the folder.
    return [sys.executable, "-I", "-S", "-c", _CODE, _ROOT, str(fd), "" if values_max is None else str(values_max)]


def main(fd: str, values_max: str) -> None:
    os.nice(_NICER)
    sys.exit(judge(_parts(int(fd)), int(values_max) if values_max else None))


def _parts(fd: int) -> Iterator[bytes]:
    at = 0
    while part := os.pread(fd, _PART_BYTES, at):
        yield part
        at += len(part)
