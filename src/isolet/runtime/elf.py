"""What a program's file says of how it is started."""

from __future__ import annotations

import struct
from pathlib import Path

_MAGIC_64_BIT_LITTLE_ENDIAN = b"\x7fELF\x02\x01"
_HEADER = struct.Struct("<32xQ14xHH")
_SEGMENT = struct.Struct("<IIQQQQ")
_INTERPRETER = 3


def loader_of(program: Path) -> str | None:
    """The path of the loader that the program names; None for one that is linked statically, or is no ELF file.

    Raises OSError.
    """
    with program.open("rb") as file:
        head = file.read(64)
        if len(head) < 64 or not head.startswith(_MAGIC_64_BIT_LITTLE_ENDIAN):
            return None
        offset, size, count = _HEADER.unpack_from(head)
        for number in range(count):
            file.seek(offset + number * size)
            row = file.read(_SEGMENT.size)
            if len(row) < _SEGMENT.size:
                return None
            kind, _, start, _, _, length = _SEGMENT.unpack(row)
            if kind == _INTERPRETER:
                file.seek(start)
                return file.read(length).rstrip(b"\0").decode()
    return None
