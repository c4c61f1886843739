"""Work on large JSON: in a thread, and one piece at a time, since it takes the interpreter from the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from isolet.ids import ProjectId
from isolet.turns import Turns

T = TypeVar("T")

LARGE_BYTES = 65_536
# Of what `is_large` counts: some milliseconds of work.
_UNITS = 4_096
_CHARS_A_UNIT = 16


class LargeWork:
    """Projects take turns."""

    def __init__(self) -> None:
        self._turns = Turns(1, of_one=1)

    async def run(self, project_id: ProjectId, function: Callable[[], T]) -> T:
        async with self._turns.take(project_id):
            return await asyncio.to_thread(function)


def is_large(value: Any) -> bool:
    """Whether JSON has so many values, or so much text, that work on it takes more than some milliseconds."""
    left, ahead = _UNITS, [value]
    while ahead:
        one = ahead.pop()
        left -= 1
        if isinstance(one, str):
            left -= len(one) // _CHARS_A_UNIT
        elif isinstance(one, Mapping | list):
            left -= len(one)
            if left >= 0:
                ahead.extend(one.values() if isinstance(one, Mapping) else one)
        if left < 0:
            return True
    return False
