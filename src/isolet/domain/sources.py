"""The sources of a function: one file or several, with the one that the runtime starts."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from difflib import unified_diff
from typing import Any, Self

from msgspec import Struct

from isolet.errors import InvalidInput

SOURCES_MAX_BYTES = 10 * 1024 * 1024
BUNDLE_MAX_BYTES = 5 * 1024 * 1024
FILES_MAX = 2_000
PATH_MAX_CHARS = 512
_DEPTH_MAX = 32
DEFAULT_ENTRY = "index.js"
ENTRIES = ("index.ts", "index.js", "worker.ts", "worker.js", "src/index.ts", "src/index.js")
_SCRIPTS = (".ts", ".mts", ".cts", ".tsx", ".js", ".mjs", ".cjs", ".jsx")
_BAD_IN_PATH = re.compile(r"[\x00-\x1f\x7f\\:*?\"<>|]")
_DIFF_MAX_BYTES = 2 * 1024 * 1024
# The time that a comparison takes grows with the square of the lines.
_DIFF_MAX_LINES = 2_000
_DIFF_MAX_LINES_TOGETHER = 50_000


class Sources(Struct, frozen=True, kw_only=True):
    """`files` are by their paths, with slashes and relative to the root: text, or bytes for what is not text."""

    entry: str
    files: Mapping[str, str | bytes]

    @classmethod
    def of_code(cls, code: str, entry: str = DEFAULT_ENTRY) -> Self:
        """One file of text."""
        return cls(entry=entry, files={entry: code})

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """From what `to_json` gave."""
        return cls(entry=stored["entry"], files={path: _decoded(file) for path, file in stored["files"].items()})

    def to_json(self) -> dict[str, Any]:
        """`{"entry", "files": {path: text or {"base64": text}}}`, as they are sent and shown."""
        return {"entry": self.entry, "files": {path: _encoded(file) for path, file in self.files.items()}}

    @property
    def code(self) -> str:
        """The text of the entry."""
        return str(self.files[self.entry])

    @property
    def single(self) -> str | None:
        """The code, when there is only one file: it runs as it was written."""
        return self.code if len(self.files) == 1 else None


def check_sources(files: object, entry: object = None) -> Sources:
    """Files as a client sends them. Without `entry` it is the only one of the usual names, or the only file.

    Raises InvalidInput.
    """
    if not isinstance(files, Mapping) or not files:
        raise InvalidInput("files must be an object of at least one file, by path")
    if len(files) > FILES_MAX:
        raise InvalidInput(f"files: there are {len(files)}, and {FILES_MAX} is the most")
    read: dict[str, str | bytes] = {}
    size = 0
    for path, sent in files.items():
        _check_path(path)
        read[path] = file = _checked(path, sent)
        size += len(file if isinstance(file, bytes) else file.encode())
        if size > SOURCES_MAX_BYTES:
            raise InvalidInput(f"files are larger than {SOURCES_MAX_BYTES // 1024**2} MiB together")
    _check_folders(read)
    start = _entry(read, entry)
    if not isinstance(read[start], str) or not str(read[start]).strip():
        raise InvalidInput(f"entry: {start} is empty, or not text")
    return Sources(entry=start, files=read)


def diff(before: Sources, after: Sources) -> str:
    """A unified diff over all files, empty when nothing changed.

    A file that is not text is only named, and so are those behind many lines that were compared.
    """
    parts: list[str] = []
    size, left = 0, _DIFF_MAX_LINES_TOGETHER
    for path in sorted({*before.files, *after.files}):
        old, new = before.files.get(path), after.files.get(path)
        if old == new:
            continue
        left -= sum(len(text.splitlines()) for text in (old, new) if isinstance(text, str))
        for line in _diff_of(path, old, new, compares=left >= 0):
            parts.append(line)
            size += len(line)
            if size > _DIFF_MAX_BYTES:
                return "".join([*parts, "\n(the rest of the diff is left out)\n"])
    return "".join(parts)


def _diff_of(path: str, old: str | bytes | None, new: str | bytes | None, *, compares: bool) -> list[str]:
    names = ("/dev/null" if old is None else f"a/{path}", "/dev/null" if new is None else f"b/{path}")
    if isinstance(old, bytes) or isinstance(new, bytes):
        return [f"Binary files {names[0]} and {names[1]} differ\n"]
    lines, changed = ((text or "").splitlines(keepends=True) for text in (old, new))
    if not compares or max(len(lines), len(changed)) > _DIFF_MAX_LINES:
        return [f"Files {names[0]} and {names[1]} differ\n"]
    shown = []
    for line in unified_diff(lines, changed, *names):
        shown.append(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n")
    return shown


def _check_path(path: Any) -> None:
    """Raises InvalidInput for what would not be a file below the root, or not the same one on every machine."""
    shown = repr(str(path)[:100])
    if not path or len(path) > PATH_MAX_CHARS or _BAD_IN_PATH.search(path) or not path.isprintable():
        raise InvalidInput(f"files: {shown} is not a path of at most {PATH_MAX_CHARS} plain characters")
    parts = path.split("/")
    if len(parts) > _DEPTH_MAX or any(part in ("", ".", "..") or len(part.encode()) > 255 for part in parts):
        raise InvalidInput(f"files: {shown} must be relative to the root, without empty parts, . and ..")


def _checked(path: str, sent: object) -> str | bytes:
    if isinstance(sent, str):
        if "\x00" in sent or not _has_utf8(sent):
            raise InvalidInput(f"files: {path} holds characters that are not text; send it as base64")
        return sent
    if isinstance(sent, Mapping) and set(sent) == {"base64"} and isinstance(sent["base64"], str):
        try:
            return base64.b64decode(sent["base64"], validate=True)
        except (binascii.Error, ValueError) as exc:
            raise InvalidInput(f"files: {path} is not base64") from exc
    raise InvalidInput(f'files: {path} must be text or {{"base64": text}}')


def _has_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_folders(files: Mapping[str, object]) -> None:
    """Raises InvalidInput for a file where another path needs a folder."""
    for path in files:
        above = path.rpartition("/")[0]
        while above:
            if above in files:
                raise InvalidInput(f"files: {above} is a file and a folder")
            above = above.rpartition("/")[0]


def _entry(files: Mapping[str, object], entry: object) -> str:
    if entry is not None:
        if not isinstance(entry, str) or entry not in files:
            raise InvalidInput(f"entry: {str(entry)[:100]!r} is not one of the files")
        return entry
    if len(files) == 1:
        return next(iter(files))
    candidates = [path for path in ENTRIES if path in files]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise InvalidInput(f"entry is required: it may be {' or '.join(candidates)}")
    raise InvalidInput(f"entry is required: none of the files is one of {', '.join(ENTRIES)}")


def is_script(path: str) -> bool:
    return path.lower().endswith(_SCRIPTS)


def _encoded(file: str | bytes) -> str | dict[str, str]:
    return file if isinstance(file, str) else {"base64": base64.b64encode(file).decode()}


def _decoded(file: Any) -> str | bytes:
    return file if isinstance(file, str) else base64.b64decode(file["base64"])
