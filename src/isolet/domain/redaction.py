"""Keeps the values of secrets out of what is recorded and shown.

The work is bounded by the text: one pass finds where a value may begin, and a sorted list says which one it is. What
would take more than its share is blanked whole, which is always safe.
"""

from __future__ import annotations

import json
import re
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import compress
from typing import Any
from urllib.parse import quote, quote_plus

MARK = "[redacted]"
_MARK = MARK.encode()
# Shorter values would blank out half of what a function says.
MIN_CHARS = 4
# So many bytes of a value are looked for first; values have at least as many.
_START_BYTES = 4
# What clients leave as it is in a query or a form: none of it, what JavaScript does, what stands in a path.
_UNESCAPED = ("", "!'()*", "/")
# Written the same way everywhere.
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*")
# Values that were set before their number had a bound may be more: then everything is blanked.
_FORMS_MAX_BYTES = 4 * 1024 * 1024
_FEW = 16
# What one text may cost: places where a value may begin, and bytes compared there.
_PLACES_MAX = 16_384
_COMPARED_MAX_BYTES = 16 * 1024 * 1024
# What it costs to try a value, in bytes that could be compared meanwhile.
_TRIAL_BYTES = 64


class Redactor:
    """Blanks the values of secrets, as they are and as JSON, queries and forms write them.

    Of values that overlap nothing is left. What was `cut` may end in the midst of a value: that part goes too. What is
    `headless` lost its beginning, and may begin in the midst of one: as much as a value may have goes.
    `longest` is the size of the longest of them as it may be written, in bytes. `is_quick` tells whether few of them
    are tried at one place; else a text of some thousand bytes takes tens of milliseconds.
    """

    __slots__ = ("_all", "_forms", "_groups", "_shorter", "_starts", "is_quick", "longest")

    def __init__(self, values: Iterable[Any]) -> None:
        written = {text.encode(errors="surrogatepass") for text in _written(values)}
        self._all = sum(map(len, written)) > _FORMS_MAX_BYTES
        self._forms = [] if self._all else sorted(written)
        self.longest = max(map(len, written), default=0)
        self._shorter = _nested(self._forms)
        self.is_quick = _depth(self._shorter) <= _FEW
        self._groups = _grouped(self._forms)
        self._starts = frozenset(int.from_bytes(start, sys.byteorder) for start in self._groups)

    def text(self, text: str, *, cut: bool = False, headless: bool = False) -> str:
        if not self.longest:
            return text
        if cut and "\ud800" <= text[-1:] <= "\udbff":
            # Half of a character that a value may have had.
            text = text[:-1]
        data = text.encode(errors="surrogatepass")
        told = self.data(data, cut=cut, headless=headless)
        # A character may have been parted where its beginning was dropped.
        return text if told is data else told.decode(errors="replace" if headless else "surrogatepass")

    def data(self, data: bytes, *, cut: bool = False, headless: bool = False) -> bytes:
        if self._all:
            return _MARK if data else data
        done = min(self.longest, len(data)) if headless else 0
        if not self._forms or (not done and self._holds_none(data, cut=cut)):
            return data
        parts = [_MARK] if done else []
        for begin, end in self._spans(data, cut=cut):
            if begin >= done:
                parts += (data[done:begin], _MARK)
            done = max(done, end)
        return b"".join((*parts, data[done:])) if parts else data

    def _holds_none(self, data: bytes, *, cut: bool) -> bool:
        """Of a few values this is the quickest way to say so."""
        return not cut and len(self._forms) <= _FEW and not any(form in data for form in self._forms)

    def _spans(self, data: bytes, *, cut: bool) -> Iterator[tuple[int, int]]:
        """Where values stand, by their beginnings; they may overlap."""
        size, compared = len(data), 0
        for count, at in enumerate(self._places(data)):
            first, end, longest = self._groups[data[at : at + _START_BYTES]]
            found, tried = self._longest_at(data, at, first, end, longest)
            compared += min(longest, size - at) + tried * _TRIAL_BYTES
            if count >= _PLACES_MAX or compared > _COMPARED_MAX_BYTES:
                yield at, size
                return
            if found:
                yield at, at + found
            if cut and size - at < longest and self._begins(data[at:], first, end):
                yield at, size
                return

    def _places(self, data: bytes) -> list[int]:
        """Where four bytes are those that a value begins with."""
        view, size, found = memoryview(data), len(data), list[int]()
        for shift in range(_START_BYTES):
            words = (size - shift) // _START_BYTES
            if words > 0:
                starts = view[shift : shift + words * _START_BYTES].cast("I")
                places = range(shift, shift + words * _START_BYTES, _START_BYTES)
                found += compress(places, map(self._starts.__contains__, starts))
        found.sort()
        return found

    def _longest_at(self, data: bytes, at: int, first: int, end: int, longest: int) -> tuple[int, int]:
        """The size of the longest value that stands there, 0 for none, and how many were tried.

        It is the last that does not sort behind the text, or one of those that this one begins with.
        """
        tried, index = 0, bisect_right(self._forms, data[at : at + longest], first, end) - 1
        while index >= first:
            tried += 1
            form = self._forms[index]
            if data.startswith(form, at):
                return len(form), tried
            index = self._shorter[index]
        return 0, tried

    def _begins(self, rest: bytes, first: int, end: int) -> bool:
        """Whether a value begins with what is left of the text."""
        index = bisect_left(self._forms, rest, first, end)
        return index < end and self._forms[index].startswith(rest)


def strings(value: Any) -> Iterator[str]:
    """Every string in a value of JSON, but the names of members."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str() as text:
                yield text
            case dict() as members:
                waiting += members.values()
            case list() as items:
                waiting += items


def _written(values: Iterable[Any]) -> set[str]:
    """Every string in them as clients and functions may write it."""
    texts = {text for value in values for text in strings(value) if len(text) >= MIN_CHARS}
    odd = {text for text in texts if not _PLAIN.fullmatch(text)}
    written = texts | {json.dumps(text)[1:-1] for text in odd}
    written |= {json.dumps(text, ensure_ascii=False)[1:-1] for text in odd}
    for form in (quote, quote_plus):
        written |= {form(text, safe=safe, errors="replace") for text in odd for safe in _UNESCAPED}
    return written


def _nested(forms: list[bytes]) -> list[int]:
    """For each of the sorted values the place of the longest other one that it begins with, -1 for none."""
    shorter, open_ = list[int](), list[int]()
    for index, form in enumerate(forms):
        while open_ and not form.startswith(forms[open_[-1]]):
            open_.pop()
        shorter.append(open_[-1] if open_ else -1)
        open_.append(index)
    return shorter


def _depth(shorter: list[int]) -> int:
    """How many values one place may have to be tried with."""
    depths = list[int]()
    for index in shorter:
        depths.append(1 + (depths[index] if index >= 0 else 0))
    return max(depths, default=0)


def _grouped(forms: list[bytes]) -> dict[bytes, tuple[int, int, int]]:
    """By their first bytes: where those values begin and end in the sorted list, and the size of the longest."""
    groups: dict[bytes, tuple[int, int, int]] = {}
    for index, form in enumerate(forms):
        start = form[:_START_BYTES]
        first, _, longest = groups.get(start, (index, index, 0))
        groups[start] = first, index + 1, max(longest, len(form))
    return groups
