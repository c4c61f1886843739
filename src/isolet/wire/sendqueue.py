"""What the kernel holds of a connection, in both directions (SIOCOUTQ and FIONREAD in unix(7) and tcp(7))."""

from __future__ import annotations

import asyncio
import sys
import termios
from fcntl import ioctl

_NOTHING = bytes(4)


def queued_bytes(transport: asyncio.BaseTransport) -> int:
    """What the other side has not taken yet. A transport that was aborted has no socket to ask."""
    told = bytearray(4)
    ioctl(descriptor_of(transport), termios.TIOCOUTQ, told)
    return int.from_bytes(told, sys.byteorder)


def has_arrived(descriptor: int) -> bool:
    """Whether something came from the other side that was not read yet. The connection must be open."""
    # A buffer that can be written is taken at once; for `bytes` an error is made first, which takes half as long again.
    told = bytearray(4)
    ioctl(descriptor, termios.FIONREAD, told)
    return told != _NOTHING


def descriptor_of(transport: asyncio.BaseTransport) -> int:
    """Good as long as the transport is open; asking costs more than to keep it."""
    descriptor: int = transport.get_extra_info("socket").fileno()
    return descriptor
