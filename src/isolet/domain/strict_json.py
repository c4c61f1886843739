"""JSON as its standard has it: Python's own reader takes NaN, Infinity and numbers beyond a double, and cannot write
them again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any


def read_json(text: str | bytes, *, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """`pairs` makes an object of its members. Raises ValueError, and RecursionError for what is nested too deeply."""
    return json.loads(text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=pairs)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:80]} is beyond a double")
    return number
