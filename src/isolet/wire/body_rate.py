"""How fast a request's body comes: told apart from how fast it is taken."""

from __future__ import annotations


class BodyRate:
    """Only time that was spent waiting for the client counts, in windows of `window_s` seconds."""

    __slots__ = ("_bytes", "_least_bytes", "_waited_s", "_window_s")

    def __init__(self, *, window_s: float, least_bytes_s: float) -> None:
        self._window_s = window_s
        self._least_bytes = window_s * least_bytes_s
        self._waited_s = 0.0
        self._bytes = 0

    @property
    def rest_s(self) -> float:
        """How much waiting is left of the window."""
        return max(self._window_s - self._waited_s, 0.0)

    def is_too_slow(self, waited_s: float, size: int) -> bool:
        """Count a wait and the bytes that came of it: whether a window has ended in which too few came."""
        self._waited_s += waited_s
        self._bytes += size
        if self._waited_s < self._window_s:
            return False
        brought, self._bytes, self._waited_s = self._bytes, 0, 0.0
        return brought < self._least_bytes
