"""What a package beside the core adds to a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number for `/metrics`: a counter, or one that goes up and down."""

    name: str
    text: str
    value: float
    counts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """`doors` makes doors of the native API, whose methods have rows, on the thread that loads the web framework.

    `figures` are read for `/metrics`.
    """

    doors: Callable[[], Sequence[object]] = tuple
    figures: Callable[[], Sequence[Figure]] = tuple
