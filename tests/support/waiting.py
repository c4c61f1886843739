"""Waiting with a deadline, for what happens in another process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(look: Callable[[], T], *, timeout_s: float = 10.0, what: str = "") -> T:
    """What `look` gives once it is true. Fails after `timeout_s`, naming what was last seen."""
    deadline = time.monotonic() + timeout_s
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"{what or 'it'} did not happen within {timeout_s} s; last seen: {seen!r}")
        time.sleep(0.01)
