"""Keys for requests that the server makes to itself for somebody who is signed in.

Such a key exists in memory only, for one request, and looks like every other key, so that no function sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from isolet.domain.access import Principal, new_key


class LentKeys:
    def __init__(self) -> None:
        self._holders: dict[str, Callable[[], Principal | None]] = {}

    @contextmanager
    def lend(self, holder: Callable[[], Principal | None]) -> Iterator[str]:
        """A key that is good inside the `with`, for as long as `holder` tells whom it stands for."""
        key = new_key()
        self._holders[key] = holder
        try:
            yield key
        finally:
            del self._holders[key]

    def principal(self, key: str) -> Principal | None:
        """Who a key stands for; None for one that was not lent."""
        holder = self._holders.get(key)
        return None if holder is None else holder()
