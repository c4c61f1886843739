"""How long a process that failed waits before it is started again: one table for all kinds."""

from __future__ import annotations

from enum import Enum


class BackOff(Enum):
    """In seconds, by the number of failures in a row; the last one holds for all further."""

    # Of a project's storage and egress: it ended, or did not start.
    SERVICE = (0.0, 0.1, 0.5, 2.0, 5.0)
    # Of a release that does not start.
    START = (0.0, 0.2, 1.0, 5.0, 15.0, 60.0)
    # Of a release whose instances end while they run calls. The first one costs nothing.
    CRASH = (0.0, 0.0, 0.1, 0.5, 1.0)

    def pause_s(self, failures: int) -> float:
        """After so many failures in a row, at least one."""
        pauses: tuple[float, ...] = self.value
        return pauses[min(failures, len(pauses)) - 1]
