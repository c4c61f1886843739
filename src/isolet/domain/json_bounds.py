"""How large a setting may be that is JSON of its owner's choice: it is read with its function, and shown in lists."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from isolet.domain.strict_json import TOO_MANY, VALUES_MAX
from isolet.errors import InvalidInput

SETTING_MAX_BYTES = 65_536
SETTING_MAX_DEPTH = 64


def bounded_json(label: str, value: Any, *, most: int = SETTING_MAX_BYTES) -> Any:
    """The value itself, which came from JSON. Raises InvalidInput when it is too large, or nested too deeply, or has
    more values than are written at once.

    Its size is that of JSON in ASCII, without spaces. What is far too large is not looked at to its end.
    """
    _check_depth(label, value, most)
    if len(json.dumps(value, separators=(",", ":"))) > most:
        raise _too_large(label, most)
    return value


def check_depth(label: str, value: Any) -> None:
    """Raises InvalidInput for JSON that is nested too deeply, or has too many values, whatever its size."""
    _check_depth(label, value, sys.maxsize)


def _check_depth(label: str, value: Any, most: int) -> None:
    """Level by level, since Python's own recursion ends somewhere; and no further than the size may be."""
    size, values, level = 0, 0, [value]
    for _ in range(SETTING_MAX_DEPTH + 1):
        below: list[Any] = []
        for one in level:
            if isinstance(one, Mapping):
                size += sum(map(len, one)) + len(one)
                below.extend(one.values())
            elif isinstance(one, list):
                size += len(one)
                below.extend(one)
            elif isinstance(one, str):
                size += len(one)
            if size > most:
                raise _too_large(label, most)
        if not below:
            return
        values += len(below)
        if values > VALUES_MAX:
            raise InvalidInput(f"{label} {TOO_MANY}")
        level = below
    raise InvalidInput(f"{label} is nested too deeply (maximum is {SETTING_MAX_DEPTH} levels)")


def _too_large(label: str, most: int) -> InvalidInput:
    return InvalidInput(f"{label} is too large (maximum is {most} bytes of JSON)")
