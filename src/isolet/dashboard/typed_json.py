"""Reads JSON that somebody typed into a field: up to a megabyte of it, and each value takes its time.

It is refused here when the API would refuse it, and when it has a name twice: one of the values would be lost.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from isolet.domain.strict_json import TooManyValues, read_writable

__all__ = ["TooManyValues", "read_json"]

_SMALL_CHARS = 16_384


async def read_json(text: str) -> Any:
    """Raises ValueError, or RecursionError, for what is no JSON, and TooManyValues."""
    return _read(text) if len(text) <= _SMALL_CHARS else await asyncio.to_thread(_read, text)


def _read(text: str) -> Any:
    return read_writable(text, pairs=_without_doubles)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f'"{twice[:80]}" stands twice in one object')
    return found
