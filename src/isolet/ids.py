"""Identifiers: UUIDv7 text, so that ids sort by the time they were made (RFC 9562, section 5.7)."""

from __future__ import annotations

import os
import struct
import time
import uuid
from collections.abc import Iterator
from typing import NewType

ProjectId = NewType("ProjectId", str)
FunctionId = NewType("FunctionId", str)
KeyId = NewType("KeyId", str)
InvocationId = NewType("InvocationId", str)
DeploymentId = NewType("DeploymentId", str)
JobId = NewType("JobId", str)
ScheduleId = NewType("ScheduleId", str)
WorkflowId = NewType("WorkflowId", str)
TriggerId = NewType("TriggerId", str)
ExecutionId = NewType("ExecutionId", str)
StepId = NewType("StepId", str)

_POOL_BYTES = 4096
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class _Uuid7:
    """Makes UUIDv7 text that grows strictly within this process."""

    def __init__(self) -> None:
        self._last = 0
        self._pool: Iterator[tuple[int]] = iter(())

    def __call__(self) -> str:
        # 48 bits of milliseconds, then 12 bits of the fraction of one, as RFC 9562 allows in rand_a.
        stamp = time.time_ns() * 4096 // 1_000_000
        if stamp <= self._last:
            stamp = self._last + 1
        self._last = stamp
        drawn = next(self._pool, None)
        if drawn is None:
            # The system is asked for many at once, since each asking costs more than an id.
            self._pool = struct.iter_unpack(">Q", os.urandom(_POOL_BYTES))
            drawn = next(self._pool)
        random = drawn[0]
        # The quickest way. The variant's two bits stand before 62 random ones.
        return "%08x-%04x-7%03x-%04x-%012x" % (  # noqa: UP031
            stamp >> 28,
            stamp >> 12 & 0xFFFF,
            stamp & 0xFFF,
            random >> 48 & 0x3FFF | 0x8000,
            random & 0xFFFF_FFFF_FFFF,
        )


new_id = _Uuid7()


def first_of_ms(ms: int) -> str:
    """The text that no id made at `ms` or later sorts before, and every earlier one does."""
    stamp = f"{max(ms, 0):012x}"
    return f"{stamp[:8]}-{stamp[8:]}"


def made_at_ms(identifier: str) -> int:
    """When a UUIDv7 was made, in milliseconds since the epoch."""
    return int(identifier[:8] + identifier[9:13], 16)


def is_uuid(text: str) -> bool:
    """True for a UUID in its canonical 36-character form, in either case."""
    if len(text) != 36:
        return False
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def to_ulid(identifier: str) -> str:
    """The same 128 bits as a ULID, 26 characters of Crockford's base 32."""
    value = uuid.UUID(identifier).int
    return "".join(_CROCKFORD[(value >> shift) & 31] for shift in range(125, -1, -5))
