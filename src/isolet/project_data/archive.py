"""Reads the tar files that backups are, from anywhere: nothing of one is believed, or held whole.

Plain files and folders are read, and the one extension that a backup has: a header that tells a long name. Everything
else that a tar file may hold, such as links, devices, sparse files and names in other dialects, is refused.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import IO

from msgspec import Struct

from isolet.errors import InvalidInput

NO_BACKUP = "the file is not a backup that Isolet made"
_BLOCK = 512
_CHUNK = 1024 * 1024
_EXTENSION_MAX_BYTES = 8 * 1024
_NAME_MAX_BYTES = 1024
# What Python's tarfile says of a file beside its name; it means nothing here.
_PASSED_OVER = frozenset(("mtime", "uid", "gid", "uname", "gname"))


class Member(Struct):
    """A file, or a folder, of `size` bytes. Its content is read before the next member is."""

    name: str
    size: int
    is_folder: bool
    _file: IO[bytes]
    _left: int

    def parts(self) -> Iterator[bytes]:
        """The content. Raises InvalidInput when the file ends in its midst."""
        while self._left:
            part = _read(self._file, min(self._left, _CHUNK))
            self._left -= len(part)
            yield part

    def content(self, max_bytes: int) -> bytes:
        """Raises InvalidInput when it is longer."""
        if self.size > max_bytes:
            raise InvalidInput(f"{NO_BACKUP}: {self.name!r} is too large")
        return b"".join(self.parts())

    def skip(self) -> None:
        for _ in self.parts():
            pass
        _read(self._file, -self.size % _BLOCK)


def members(file: IO[bytes]) -> Iterator[Member]:
    """In the order of the file. Raises InvalidInput for what no backup has."""
    name: str | None = None
    while (info := _header(file)) is not None:
        if info.type == tarfile.XHDTYPE and name is None:
            name = _long_name(_extension(file, info))
            continue
        if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
            raise InvalidInput(f"{NO_BACKUP}: it holds {info.name!r}")
        # An old tar file's folder is a file whose name ends like one.
        is_folder = info.type == tarfile.DIRTYPE
        shown = (name or info.name).rstrip("/") if is_folder else name or info.name
        name = None
        member = Member(shown, 0 if is_folder else info.size, is_folder, file, 0 if is_folder else info.size)
        yield member
        member.skip()


def _header(file: IO[bytes]) -> tarfile.TarInfo | None:
    """None at the end of the archive."""
    block = _read(file, _BLOCK)
    if not block.strip(b"\0"):
        return None
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError) as exc:
        raise InvalidInput(f"{NO_BACKUP}: {exc}") from exc
    if info.size < 0:
        raise InvalidInput(f"{NO_BACKUP}: {info.name!r} has no size")
    return info


def _extension(file: IO[bytes], info: tarfile.TarInfo) -> bytes:
    if info.size > _EXTENSION_MAX_BYTES:
        raise InvalidInput(f"{NO_BACKUP}: it holds {info.name!r}")
    content = _read(file, info.size)
    _read(file, -info.size % _BLOCK)
    return content


def _long_name(content: bytes) -> str | None:
    """The name in records `<length> <keyword>=<value>\\n`; None when they do not tell one. Raises InvalidInput."""
    name = None
    while content:
        length, _, _ = content.partition(b" ")
        if not length.isdigit() or not len(length) < int(length[:5]) <= len(content):
            raise InvalidInput(f"{NO_BACKUP}: it has a broken header")
        record, content = content[: int(length)], content[int(length) :]
        keyword, _, value = record[len(length) + 1 :].rstrip(b"\n").partition(b"=")
        if keyword == b"path" and len(value) <= _NAME_MAX_BYTES:
            name = _text(value)
        elif _text(keyword) not in _PASSED_OVER:
            raise InvalidInput(f"{NO_BACKUP}: it holds a header {_text(keyword)[:100]!r}")
    return name


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as exc:
        raise InvalidInput(f"{NO_BACKUP}: it has a broken header") from exc


def _read(file: IO[bytes], size: int) -> bytes:
    """Exactly `size` bytes. Raises InvalidInput at the end of the file."""
    data = file.read(size)
    if len(data) < size:
        raise InvalidInput(f"{NO_BACKUP}: it is cut off")
    return data
