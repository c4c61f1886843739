"""How much one transaction deletes, so that no other write waits long for it: some rows, of some bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

K = TypeVar("K")
# A row may have tens of megabytes, each page of which is looked at.
ROWS = 500
BYTES = 16 * 1024 * 1024


def first_step(rows: Iterable[tuple[K, int]]) -> list[K]:
    """Of rows, each with its size in bytes, the first that one transaction deletes: at least one, if there is one.

    No more rows are read than that.
    """
    chosen: list[K] = []
    size = 0
    for key, taken in rows:
        size += taken
        if chosen and size > BYTES:
            break
        chosen.append(key)
        if len(chosen) == ROWS or size > BYTES:
            break
    return chosen
