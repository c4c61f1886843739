"""Reads stored JSON with large texts in pieces: one call of the reader keeps the interpreter, in a thread as well.

`domain.json_writing` wrote it. A text of ten megabytes of escaped characters takes the reader 60 ms.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_PIECE_CHARS = 262_144
# As many whole characters, escaped or not, as there are before the end of a text, or of a piece of it.
_CHARS = re.compile(r'(?:[^"\\]+|\\(?:u[0-9a-fA-F]{4}|[^u]))*')
_HIGH_HALF = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}")
_HALF_CHARS = 6
_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def read_stored(text: str | bytes) -> Any:
    """Raises ValueError for what is no JSON."""
    if len(text) <= _PIECE_CHARS:
        return json.loads(text)
    whole = text.decode() if isinstance(text, bytes) else text
    value, end = _value(whole, _skip(whole, 0))
    if _skip(whole, end) != len(whole):
        raise ValueError("there is more behind the value")
    return value


def _value(text: str, at: int) -> tuple[Any, int]:
    """Texts, and those in objects, in pieces; whatever else there is is not large."""
    if text[at : at + 1] == '"':
        return _text(text, at + 1)
    if text[at : at + 1] == "{":
        return _object(text, _skip(text, at + 1))
    return _DECODER.raw_decode(text, at)


def _object(text: str, at: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    if text[at : at + 1] == "}":
        return found, at + 1
    while True:
        name, at = _text(text, _after(text, at, '"'))
        found[name], at = _value(text, _skip(text, _after(text, _skip(text, at), ":")))
        at = _skip(text, at)
        if text[at : at + 1] == "}":
            return found, at + 1
        at = _skip(text, _after(text, at, ","))


def _text(text: str, at: int) -> tuple[str, int]:
    pieces: list[str] = []
    for start, end in _pieces(text, at):
        pieces.append(json.loads(f'"{text[start:end]}"'))
        at = end
    return "".join(pieces), _after(text, at, '"')


def _pieces(text: str, at: int) -> Iterator[tuple[int, int]]:
    """Where the pieces of a text begin and end. No character is in two of them."""
    while True:
        match = _CHARS.match(text, at, at + _PIECE_CHARS)
        end = at if match is None else match.end()
        if end == at:
            return
        if end - at > _HALF_CHARS and _HIGH_HALF.fullmatch(text, end - _HALF_CHARS, end):
            end -= _HALF_CHARS
        yield at, end
        at = end


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()


def _after(text: str, at: int, expected: str) -> int:
    if text[at : at + 1] != expected:
        raise ValueError(f"{expected!r} is missing at {at}")
    return at + 1
