"""Waiting with a deadline, for what happens in another process.

The deadline only ends what hangs: it says nothing of how long things take, so it is far longer than they do, even on a
machine with other work. What a test says of time itself, it says of the quickest of several tries (`once_within`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_LONGEST_PAUSE_S = 0.05


def wait_until(look: Callable[[], T], *, timeout_s: float = 60.0, what: str = "", pause_s: float = 0.01) -> T:
    """What `look` gives once it is true. Fails after `timeout_s`, naming what was last seen.

    `pause_s` is the time between the first two looks; it grows up to `_LONGEST_PAUSE_S`, which tests rely on that act
    at a moment. More is for what takes long and is costly to look at.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"{what or 'it'} did not happen within {timeout_s} s; last seen: {seen!r}")
        time.sleep(pause_s)
        # Looking costs what is looked at, too.
        pause_s = max(pause_s, min(pause_s * 1.3, _LONGEST_PAUSE_S))


def once_within(limit_s: float, work: Callable[[], T], *, tries: int = 10) -> T:
    """What `work` gives on the first try that takes less than `limit_s`. Other work may hold up some, but not all."""
    took_s = []
    for _ in range(tries):
        began = time.monotonic()
        done = work()
        took_s.append(time.monotonic() - began)
        if took_s[-1] < limit_s:
            return done
    raise AssertionError(f"not once within {limit_s} s: {took_s}")
