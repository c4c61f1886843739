"""The most memory that a process takes while something happens."""

from __future__ import annotations

import threading
from typing import Self

import psutil

_EVERY_S = 0.02


class MostMemory:
    """A context manager; resident bytes, looked at fifty times a second."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.before_bytes = self.most_bytes = self._process.memory_info().rss

    @property
    def grown_bytes(self) -> int:
        return self.most_bytes - self.before_bytes

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _look(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self.most_bytes = max(self.most_bytes, self._process.memory_info().rss)
