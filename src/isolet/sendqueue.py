"""What the kernel holds of a connection until its other side takes it (SIOCOUTQ in unix(7) and tcp(7))."""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios


def queued_bytes(transport: asyncio.BaseTransport) -> int:
    """Of a transport that still has its socket: one that was aborted has none."""
    descriptor = transport.get_extra_info("socket").fileno()
    return int.from_bytes(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
