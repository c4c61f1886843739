"""Writes JSON that holds large texts in pieces: one call of the writer keeps the interpreter, from a thread as well."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

# Some milliseconds of work, where each character becomes six.
_PIECE_CHARS = 262_144
# What holds texts is looked at so far for large ones, and so deep: files of a function are objects in an object.
_LOOKED_AT = 4_096
_DEPTH = 3


def write_json(value: Any) -> str:
    """In ASCII, without spaces. Raises what `json.dumps` does, also for what is no number of JSON."""
    return _in_pieces(value) if _is_large(value, _DEPTH) else _whole(value)


def write_stored(value: Any) -> str:
    """The same for a column, where what has no large texts is written as the database package always did."""
    return _in_pieces(value) if _is_large(value, _DEPTH) else json.dumps(value)


def _whole(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _in_pieces(value: Any) -> str:
    parts: list[str] = []
    _write(value, parts.append)
    return "".join(parts)


def _write(value: Any, write: Callable[[str], object]) -> None:
    if isinstance(value, str):
        write('"')
        for start in range(0, len(value), _PIECE_CHARS):
            write(json.dumps(value[start : start + _PIECE_CHARS])[1:-1])
        write('"')
    elif isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        before = "{"
        for name, member in value.items():
            write(before + json.dumps(name) + ":")
            _write(member, write)
            before = ","
        write("}" if value else "{}")
    elif isinstance(value, list):
        before = "["
        for item in value:
            write(before)
            _write(item, write)
            before = ","
        write("]" if value else "[]")
    else:
        write(_whole(value))


def _is_large(value: Any, depth: int) -> bool:
    """Whether there is so much text in it. What has many other values is bounded where it comes in."""
    left = _PIECE_CHARS
    waiting = [(value, depth)]
    for _ in range(_LOOKED_AT):
        if not waiting:
            return False
        one, below = waiting.pop()
        if isinstance(one, str):
            left -= len(one)
            if left < 0:
                return True
        elif below and isinstance(one, Mapping) and len(one) <= _LOOKED_AT:
            waiting.extend((member, below - 1) for member in one.values())
    return False
