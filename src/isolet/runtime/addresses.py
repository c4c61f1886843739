"""The addresses that lead to this machine itself, as the kernel's routes say, and when they change.

Whatever listens on all interfaces answers by each of them, over the loopback interface and past a host's firewall.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import struct
from collections.abc import Callable, Iterator

from isolet.domain.networks import Network
from isolet.telemetry import get_logger

log = get_logger("addresses")


# linux/netlink.h, linux/rtnetlink.h.
_NETLINK_ROUTE = 0
_GET_ROUTE, _NEW_ROUTE = 26, 24
_DUMP_REQUEST = 0x301
_DONE, _ERROR = 3, 2
_SOL_NETLINK, _STRICT_CHECK = 270, 12
_LOCAL_TABLE = 255
_LOCAL, _ANYCAST = 2, 4
_DESTINATION = 1
# Address and route changes, IPv4 and IPv6.
_GROUPS = 0x10 | 0x40 | 0x100 | 0x400
_BUFFER_BYTES = 262_144
_DUMP_TIMEOUT_S = 5.0
# Where the kernel tells of no change, and for what it dropped.
_LOOK_EVERY_S = 30.0
# Changes come in groups: an interface that goes up tells several.
_SETTLE_S = 0.2


class Addresses:
    """`current` are the networks that lead here, loopback left out; listeners hear when that has changed."""

    def __init__(self) -> None:
        self.current: frozenset[Network] = frozenset()
        self._listeners: list[Callable[[], None]] = []
        self._events: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call it after each change."""
        self._listeners.append(listener)

    def start(self) -> None:
        self.current = own_networks()
        try:
            self._events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_ROUTE)
            self._events.bind((0, _GROUPS))
            self._loop.add_reader(self._events.fileno(), self._hear)
        except OSError as exc:
            log.warning("the kernel does not tell when addresses change; they are looked at again", error=str(exc))
        self._plan(_LOOK_EVERY_S)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._events is not None:
            self._loop.remove_reader(self._events.fileno())
            self._events.close()

    def _hear(self) -> None:
        """Something changed; what it was, the next look shows."""
        try:
            while self._events is not None and self._events.recv(_BUFFER_BYTES):
                pass
        except BlockingIOError:
            pass
        except OSError as exc:
            # More changes than the socket's buffer holds.
            log.debug("changes of addresses were dropped", error=str(exc))
        self._plan(_SETTLE_S)

    def _plan(self, delay_s: float) -> None:
        now = self._loop.time()
        if self._timer is not None:
            if not self._timer.cancelled() and now < self._timer.when() <= now + delay_s:
                return
            self._timer.cancel()
        self._timer = self._loop.call_later(delay_s, self._look)

    def _look(self) -> None:
        self._timer = None
        self._plan(_LOOK_EVERY_S)
        found = own_networks()
        if found != self.current:
            log.info("the machine's addresses have changed", added=sorted(map(str, found - self.current)))
            self.current = found
            for listener in self._listeners:
                listener()


def own_networks() -> frozenset[Network]:
    """Where the kernel delivers to itself, loopback left out. Empty, with a warning, where it does not tell."""
    found: set[Network] = set()
    try:
        for family in (socket.AF_INET, socket.AF_INET6):
            found.update(network for network in _local_routes(family) if not network.is_loopback)
    except OSError as exc:
        log.warning("cannot tell the machine's own addresses: functions may reach its public ones", error=str(exc))
    return frozenset(found)


def _local_routes(family: int) -> Iterator[Network]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE) as kernel:
        kernel.settimeout(_DUMP_TIMEOUT_S)
        # So that the kernel gives that table alone, however many routes a machine has.
        kernel.setsockopt(_SOL_NETLINK, _STRICT_CHECK, 1)
        kernel.bind((0, 0))
        # nlmsghdr, rtmsg.
        body = struct.pack("=BBBBBBBBI", family, 0, 0, 0, _LOCAL_TABLE, 0, 0, 0, 0)
        kernel.sendto(struct.pack("=IHHII", 16 + len(body), _GET_ROUTE, _DUMP_REQUEST, 1, 0) + body, (0, 0))
        while True:
            data = kernel.recv(_BUFFER_BYTES)
            for kind, message in _messages(data):
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    code = -struct.unpack_from("=i", message)[0]
                    raise OSError(code, os.strerror(code))
                if kind == _NEW_ROUTE and (network := _local(message)) is not None:
                    yield network


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, place)
        yield kind, data[place + 16 : place + length]
        place += max((length + 3) & ~3, 16)


def _local(message: bytes) -> Network | None:
    """The destination of a route that ends on this machine."""
    family, prefix, _, _, _, _, _, kind, _ = struct.unpack_from("=BBBBBBBBI", message)
    if kind not in (_LOCAL, _ANYCAST):
        return None
    place = 12
    while place + 4 <= len(message):
        length, attribute = struct.unpack_from("=HH", message, place)
        if attribute == _DESTINATION:
            return ipaddress.ip_network((socket.inet_ntop(family, message[place + 4 : place + length]), prefix))
        place += max((length + 3) & ~3, 4)
    return None
