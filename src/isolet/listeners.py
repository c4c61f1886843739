"""Tells those who asked for it what has changed, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from isolet.telemetry import get_logger

log = get_logger("listeners")
C = TypeVar("C")


class Listeners(Generic[C]):
    """Hears of each change after it is on disk.

    A listener keeps memory up to date and does not wait: what must be on disk belongs to the transaction of the change.
    """

    def __init__(self, *listeners: Callable[[C], None]) -> None:
        self._listeners = list(listeners)

    def add(self, listener: Callable[[C], None]) -> None:
        """It hears of what happens from now on, after those that were added before it."""
        self._listeners.append(listener)

    def publish(self, change: C) -> None:
        """Tell every listener. One that fails is logged: the change stands, and the others hear of it."""
        for listener in self._listeners:
            try:
                listener(change)
            except Exception as exc:
                log.error("listener failed", change=type(change).__name__, exc_info=exc)
