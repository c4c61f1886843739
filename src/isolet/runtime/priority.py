"""How much processor time an instance gets when there is not enough for all: less than the server, through which every
call goes, and much less while its loop is stuck.

The kernel shares out by thread, or first by session where it groups those (each sandbox is a session of its own), so
both are told. A lower priority costs nothing while a processor is free.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

# Steps of `nice` below the server: each gets a fifth less than the one before, so 5 is a third and 15 a thirtieth.
_SERVING = 5
_STUCK = 15
_LOWEST = 19


class Priority:
    """Of one process that was just started. Processes that are gone are passed over."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._lowered = False
        self._may_raise = True
        self._set(_SERVING)
        self._may_raise = self._goes_back()

    def lower(self) -> None:
        """Its loop is stuck: others first."""
        if not self._lowered:
            self._lowered = True
            self._set(_STUCK)

    def restore(self) -> None:
        """Its loop turns again."""
        if self._lowered:
            self._lowered = False
            self._set(_SERVING)

    def _set(self, steps: int) -> None:
        nice = min(os.getpriority(os.PRIO_PROCESS, 0) + steps, _LOWEST)
        self._set_session(nice)
        if self._may_raise:
            self._set_threads(nice)

    def _set_session(self, nice: int) -> None:
        # The kernel may not group by session at all, or be asked too often by a server that is not root's.
        with contextlib.suppress(OSError):
            Path(f"/proc/{self.pid}/autogroup").write_text(str(nice))

    def _set_threads(self, nice: int) -> None:
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{self.pid}/task"):
                os.setpriority(os.PRIO_PROCESS, int(thread), nice)

    def _goes_back(self) -> bool:
        """Whether this server may raise what it lowered; else threads stay where they are."""
        try:
            now = os.getpriority(os.PRIO_PROCESS, self.pid)
            os.setpriority(os.PRIO_PROCESS, self.pid, now + 1)
            os.setpriority(os.PRIO_PROCESS, self.pid, now)
        except OSError:
            return False
        return True
