"""What a package beside the core adds to a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """`doors` makes doors of the native API, whose methods have rows, on the thread that loads the web framework."""

    doors: Callable[[], Sequence[object]] = tuple
