"""Where a line of compiled code comes from in the author's text: the `mappings` of a source map, kept with the module.

A module that was compiled ends with a comment that holds them; one that runs as it was written has none.
"""

from __future__ import annotations

import json
import re
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from msgspec import Struct, field

_MARK = "\n//# isolet-lines="
# Before it, where there are several files.
_FILES_MARK = "\n//# isolet-files="
_MAPPINGS = re.compile(r"[A-Za-z0-9+/,;]+")
_PLACE = re.compile(r"\bfunction\.js:(\d{1,9}):(\d{1,9})")
_FRAME = re.compile(r"[^\S\n]+at ")
# A place in the wrapper, as `errors.js` leaves it out of what it reports.
_OURS = re.compile(r"[^\S\n]+at (?:async )?(?:[^(]{0,500} \()?isolet/[\w./-]{1,100}:\d+:\d+\)?$")
_DIGITS_MAX = 9
_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
# Two thousand paths of five hundred characters.
_FILES_MAX_CHARS = 2_000_000
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}


def with_mappings(module: str, mappings: str, files: Sequence[str] = ()) -> str:
    """The module with the mappings of its source map, which begin at its first line, and the files that it names."""
    named = f"{_FILES_MARK}{json.dumps(list(files))}" if files else ""
    return f"{module.rstrip()}{named}{_MARK}{mappings}\n"


def authored_place(module: str, line: int, column: int) -> tuple[int, int] | None:
    """Line and column in the author's text, all counted from 1; None for what no part of that text became."""
    mappings = _mappings(module)
    if mappings is None:
        return line, column
    found = mappings.find(line, column)
    return None if found is None else (found.line, found.column)


def authored_file(module: str, line: int, column: int) -> str | None:
    """The file of several that a place is in; None where there is only one."""
    mappings = _mappings(module)
    found = None if mappings is None else mappings.find(line, column)
    return None if found is None else found.file


def authored_stack(module: str, stack: str) -> str:
    """A stack trace with the author's places in it, and none of what the compiler added to the author's code."""
    mappings = _mappings(module)
    if mappings is None:
        return stack
    lines = (_authored_line(mappings, line) for line in stack.split("\n"))
    return "\n".join(line for line in lines if line is not None)


def authored_text(module: str, text: str) -> str:
    """What a function printed, which may hold stack traces: as `authored_stack` has these, without places of ours."""
    if "function.js:" not in text and "isolet/" not in text:
        return text
    own = "\n".join(line for line in text.split("\n") if not _OURS.match(line))
    return authored_stack(module, own)


def _authored_line(mappings: _Mappings, line: str) -> str | None:
    is_added = False

    def place(found: re.Match[str]) -> str:
        nonlocal is_added
        authored = mappings.find(int(found[1]), int(found[2]))
        if authored is None:
            is_added = True
            return found[0]
        return f"{authored.file or 'function.js'}:{authored.line}:{authored.column}"

    told = _PLACE.sub(place, line)
    return None if is_added and _FRAME.match(line) else told


def author_line(stack: str) -> int | None:
    """The line of the first place in a stack trace that is the author's own, else of the first that is a package's."""
    found = [frame for line in stack.split("\n") if (frame := _frame(line)) is not None]
    own = (line for file, line in found if "node_modules/" not in file)
    return next(own, found[0][1] if found else None)


def _frame(line: str) -> tuple[str, int] | None:
    """File and line of a line of a stack trace, where the file is one of the author's or of a package's."""
    if not _FRAME.match(line):
        return None
    told = line.strip().removeprefix("at ").removeprefix("async ")
    place = told[told.rfind("(") + 1 : -1] if told.endswith(")") else told
    file, _, rest = place.partition(":")
    numbers = rest.split(":")
    # The runtime's own modules have a colon in their names.
    if len(numbers) != 2 or not all(number.isascii() and number.isdigit() for number in numbers):
        return None
    return (file, int(numbers[0][:_DIGITS_MAX])) if file else None


def _numbers() -> array[int]:
    return array("i")


class _Place(NamedTuple):
    file: str | None
    line: int
    column: int


class _Mappings(Struct, frozen=True):
    """`starts` has where in the others each compiled line begins, and their end; all count from 0."""

    starts: array[int] = field(default_factory=_numbers)
    columns: array[int] = field(default_factory=_numbers)
    source_lines: array[int] = field(default_factory=_numbers)
    source_columns: array[int] = field(default_factory=_numbers)
    sources: array[int] = field(default_factory=_numbers)
    files: list[str] = field(default_factory=list)

    def find(self, line: int, column: int) -> _Place | None:
        if not 0 < line < len(self.starts):
            return None
        first, end = self.starts[line - 1], self.starts[line]
        at = bisect_right(self.columns, column - 1, first, end) - 1
        if at < first:
            return None
        source = self.sources[at]
        file = self.files[source] if 0 <= source < len(self.files) else None
        return _Place(file, self.source_lines[at] + 1, self.source_columns[at] + 1)


# Those of one module may have a million segments of sixteen bytes.
@lru_cache(maxsize=8)
def _mappings(module: str) -> _Mappings | None:
    rest, mark, text = module.rstrip().rpartition(_MARK)
    if not mark or _MAPPINGS.fullmatch(text) is None:
        return None
    _, named, files = rest[-_FILES_MAX_CHARS:].rpartition(_FILES_MARK)
    try:
        found = _decode(text)
        if named and "\n" not in files:
            found.files.extend(json.loads(files))
        return found
    except (LookupError, OverflowError, ValueError, TypeError):
        # An author may write such a comment, too.
        return None


def _decode(text: str) -> _Mappings:
    """Each segment adds to column, source, source line and source column of the one before."""
    found, known = _Mappings(), dict[str, list[int]]()
    source = source_line = source_column = 0
    for line in text.split(";"):
        found.starts.append(len(found.columns))
        column = 0
        for segment in line.split(",") if line else ():
            if (numbers := known.get(segment)) is None:
                numbers = known[segment] = _read(segment)
            column += numbers[0]
            source += numbers[1]
            source_line += numbers[2]
            source_column += numbers[3]
            found.columns.append(column)
            found.source_lines.append(source_line)
            found.source_columns.append(source_column)
            found.sources.append(source)
    found.starts.append(len(found.columns))
    return found


def _read(segment: str) -> list[int]:
    """Five bits a digit, the lowest first, a sixth where more follow; the lowest bit of a number is its sign."""
    numbers = []
    value = shift = 0
    for digit in segment:
        bits = _VALUES[digit]
        value |= (bits & 31) << shift
        shift += 5
        if bits < 32:
            numbers.append(-(value >> 1) if value & 1 else value >> 1)
            value = shift = 0
    return numbers
