"""What a package beside the core adds to a server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct

from isolet.access.rates import Rates
from isolet.api.gateway import Finder


async def _nothing() -> None:
    pass


class Figure(Struct, frozen=True, kw_only=True):
    """A number for `/metrics`: a counter, or one that goes up and down."""

    name: str
    text: str
    value: float
    counts: bool = False


class Feature(Struct, frozen=True, kw_only=True):
    """`doors` makes doors of the native API, whose methods have rows, on the thread that loads the web framework;
    `app_doors` those below Butterbase's `/v1/{app_id}`; `kapso_doors` those below the base of Kapso's that it gets.
    `calls` makes what serves paths without the framework. `start` is awaited before the server listens. `figures` are
    read for `/metrics`.
    """

    doors: Callable[[], Sequence[object]] = tuple
    app_doors: Callable[[], Sequence[object]] = tuple
    kapso_doors: Callable[[str], Sequence[object]] = lambda _: ()
    calls: Callable[[Rates], Sequence[Finder]] = lambda _: ()
    start: Callable[[], Awaitable[None]] = _nothing
    figures: Callable[[], Sequence[Figure]] = tuple
