"""Room for one more connection where as many are open as may be: one that waits for its client yields its place.

The address that has most of those yields first, and of its own the one that waited longest. Of IPv6 a network of 64
bits counts as one: who has one address there has all of them.
"""

from __future__ import annotations

import heapq
import socket
from collections import deque
from collections.abc import Collection, Iterable
from typing import Protocol

# So many are closed together, so that not each newcomer makes the server look at all.
_AT_ONCE = 64
_NETWORK_BYTES = 8
# With it, an IPv4 address is written as one of IPv6.
_MAPPED = bytes(10) + b"\xff\xff"
# When none could yield, nobody looks again before.
_PAUSE_S = 0.1


class Idler(Protocol):
    """A connection. `idle_since` is when it began to wait for a request of its client; 0 while it serves one."""

    @property
    def idle_since(self) -> float: ...
    @property
    def peer_host(self) -> str: ...
    def close(self) -> None: ...


class ConnectionRoom:
    """Of one listener."""

    def __init__(self) -> None:
        # Those that were closed, and have not gone yet.
        self._yielded: list[Idler] = []
        self._look_again_at = 0.0

    def make(self, connections: Collection[Idler], most: int, now: float) -> bool:
        """Whether the newest of these has room. `now` is by the clock of `idle_since`."""
        self._yielded = [one for one in self._yielded if one in connections]
        if len(connections) - len(self._yielded) <= most:
            return True
        if now < self._look_again_at:
            return False
        yielding = _yielding(connections)
        for connection in yielding:
            connection.close()
        self._yielded += yielding
        if not yielding:
            self._look_again_at = now + _PAUSE_S
        return bool(yielding)


def _place(host: str) -> str | bytes:
    """What stands for all connections of one caller."""
    if ":" not in host:
        return host
    address = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return address if address.startswith(_MAPPED) else address[:_NETWORK_BYTES]


def _yielding(connections: Iterable[Idler]) -> list[Idler]:
    idle = sorted(((one.idle_since, one) for one in connections if one.idle_since), key=lambda pair: pair[0])
    by_host: dict[str | bytes, deque[Idler]] = {}
    for _, one in idle:
        by_host.setdefault(_place(one.peer_host), deque()).append(one)
    # The address with most comes first.
    heap = [(-len(own), place, own) for place, own in enumerate(by_host.values())]
    heapq.heapify(heap)
    chosen: list[Idler] = []
    while heap and len(chosen) < _AT_ONCE:
        _, place, own = heapq.heappop(heap)
        chosen.append(own.popleft())
        if own:
            heapq.heappush(heap, (-len(own), place, own))
    return chosen
