"""Reads JSON that somebody typed into a field: up to a megabyte of it, and each value takes its time.

It is refused here when the API would refuse it, and when it has a name twice: one of the values would be lost.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

from isolet.domain import strict_json
from isolet.domain.json_text import PIECE_BYTES, JsonChecker, NotJson

# Twice as many as a graph may have. To build more of them would hold up the event loop, from a thread as well.
VALUES_MAX = 65_536
_SMALL_CHARS = 16_384


class TooManyValues(ValueError):
    """More than are read from a field."""


async def read_json(text: str) -> Any:
    """Raises ValueError, or RecursionError, for what is no JSON, and TooManyValues."""
    return _parsed(text) if len(text) <= _SMALL_CHARS else await asyncio.to_thread(_read, text)


def _read(text: str) -> Any:
    data, checker = text.encode("utf-8", "replace"), JsonChecker()
    try:
        for start in range(0, len(data), PIECE_BYTES):
            checker.feed(data[start : start + PIECE_BYTES])
            if checker.values > VALUES_MAX:
                raise TooManyValues(f"it has more than {VALUES_MAX} values")
            # The interpreter is given to the loop, when that waits for it.
            time.sleep(0)
    except NotJson:
        # The parser says where, and reads no more before it than the checker has.
        pass
    return _parsed(text)


def _parsed(text: str) -> Any:
    return strict_json.read_json(text, pairs=_without_doubles)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f'"{twice[:80]}" stands twice in one object')
    return found
