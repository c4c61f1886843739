"""What the kernel holds of a connection, in both directions (SIOCOUTQ and FIONREAD in unix(7) and tcp(7))."""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios


def queued_bytes(transport: asyncio.BaseTransport) -> int:
    """What the other side has not taken yet. A transport that was aborted has no socket to ask."""
    return _ask(transport, termios.TIOCOUTQ)


def arrived_bytes(transport: asyncio.BaseTransport) -> int:
    """What came from the other side and was not read yet."""
    return _ask(transport, termios.FIONREAD)


def _ask(transport: asyncio.BaseTransport, what: int) -> int:
    descriptor = transport.get_extra_info("socket").fileno()
    return int.from_bytes(fcntl.ioctl(descriptor, what, bytes(4)), sys.byteorder)
