"""A client that has closed its sending side: it may wait for its reply, or be gone. Both begin with the same FIN.

To tell them apart, the first bytes of what is to come anyway are sent early, one at a time: who waits takes them, and
who is gone answers with a reset.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable

from isolet.spread import Spread

_FIRST_S = 0.05
_LATEST_S = 1.0
# Bytes that can be sent early are few: each is for a later moment, in seconds after the first.
_PROBES_S = (0.0, 0.5, 2.0, 8.0, 30.0, 120.0, 600.0)


class HalfClosed:
    """Aborts the connection once its client is gone. `probe` gives the next byte of the reply, or none.

    Each look takes some system calls, and a crowd of clients leaves at once: `spread` has them in several turns.
    """

    def __init__(self, transport: asyncio.Transport, probe: Callable[[], bytes], spread: Spread) -> None:
        self._spread = spread
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._probe = probe
        self._began = self._loop.time()
        self._probed = 0
        self._wait_s = _FIRST_S
        self._timer: asyncio.TimerHandle | None = None
        spread.later(self._look)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        transport = self._transport
        if transport.is_closing():
            return
        if is_gone(transport):
            transport.abort()
            return
        age_s = self._loop.time() - self._began
        if self._probed < len(_PROBES_S) and age_s >= _PROBES_S[self._probed]:
            self._probed += 1
            # What is on its way already tells as much.
            if not transport.get_write_buffer_size() and (byte := self._probe()):
                transport.write(byte)
        self._timer = self._loop.call_later(self._wait_s, self._spread.later, self._look)
        self._wait_s = min(2 * self._wait_s, _LATEST_S)


def is_gone(transport: asyncio.Transport) -> bool:
    """Whether the other side was reset or closed both ways: it takes nothing any more."""
    poller = select.poll()
    # Asked for nothing, the kernel tells of errors and of the end.
    poller.register(transport.get_extra_info("socket").fileno(), 0)
    return bool(poller.poll(0))
