"""JSON as its standard has it: Python's own reader takes NaN, Infinity and numbers beyond a double, and cannot write
them again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from isolet.domain.json_text import Verdict, judge

# To read or write more at once would hold up the event loop, from a thread as well: one call of the parser cannot be
# interrupted.
VALUES_MAX = 65_536
# Levels of other values and calls around what was read.
_ROOM = 200
# The largest double has so many. To read thousands of digits takes the square of their number.
_DIGITS_MAX = 309
TOO_MANY = f"has more than {VALUES_MAX} values"


class TooManyValues(ValueError):
    """JSON, or the beginning of what may be JSON, with more than `VALUES_MAX` values."""


def read_json(text: str | bytes, *, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """`pairs` makes an object of its members. Raises ValueError, and RecursionError for what is nested too deeply."""
    return json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_short, object_pairs_hook=pairs)


def read_bounded(data: bytes | str, **options: Any) -> Any:
    """What somebody else chose the size of, with the options of `read_json`; large texts not on the loop.

    Raises ValueError, RecursionError, and TooManyValues beyond `VALUES_MAX`.
    """
    # Commas and brackets in strings are counted as well: what has few of them needs no closer look.
    counts = map(data.count, ",[{") if isinstance(data, str) else map(data.count, (b",", b"[", b"{"))
    if sum(counts) > VALUES_MAX:
        text = data.encode("utf-8", "replace") if isinstance(data, str) else data
        # Of what is no JSON the parser says what is wrong; it reads no more before that place than was counted.
        if judge([text], VALUES_MAX) is Verdict.TOO_MANY_VALUES:
            raise TooManyValues(f"it {TOO_MANY}")
    return read_json(data, **options)


def read_writable(data: bytes | str, **options: Any) -> Any:
    """`read_bounded`, but RecursionError also for what could not be written inside of another value, or from a place
    with more calls above it: Python writes nearly as deep as it reads.
    """
    value = read_bounded(data, **options)
    write_readable(_as_deep(value))
    return value


def _as_deep(value: Any) -> Any:
    """Something small that is nested as deep: to write a hundred thousand numbers takes 50 ms, in which no other thread
    works.
    """
    found: Any = None
    level = [value]
    while level := [one for one in level if isinstance(one, (dict, list))]:
        found = [found]
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return found


def write_readable(value: Any) -> str:
    """JSON in ASCII, without spaces. RecursionError also for what could not be read and written again from a place
    with more calls above it.
    """
    for _ in range(_ROOM):
        value = [value]
    return json.dumps(value, separators=(",", ":"))[_ROOM:-_ROOM]


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _short(text: str) -> int:
    if len(text) > _DIGITS_MAX + text.startswith("-"):
        raise ValueError(f"{text[:80]} is beyond a double")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:80]} is beyond a double")
    return number
