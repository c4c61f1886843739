"""What a function may use, and the bounds an owner may set."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any, Self

from msgspec import Struct
from msgspec.structs import asdict, replace

from isolet.errors import InvalidInput

CODE_MAX_BYTES = 1_048_576
ERROR_MAX_CHARS = 512
STACK_MAX_CHARS = 10_000
CONSOLE_MAX_LINES = 100
CONSOLE_MAX_CHARS = 10_000
# As the instance writes them.
CONSOLE_MAX_BYTES = 2_097_152
RECORDED_BODY_MAX_BYTES = 16_384

# What a caller may wait for the beginning of a reply, and for all of it. Asynchronous calls have no caller.
REPLY_MAX_MS = 3_600_000

BOUNDS = {
    "timeout_ms": (1, 86_400_000),
    "cpu_ms": (1, 300_000),
    "memory_limit_mb": (64, 1024),
    "concurrency": (1, 1000),
    "max_instances": (1, 64),
}


class Limits(Struct, frozen=True, kw_only=True):
    """Per call: `timeout_ms`, `cpu_ms`. Per instance: `memory_limit_mb`, `concurrency` calls at once."""

    timeout_ms: int = 30_000
    cpu_ms: int = 10_000
    memory_limit_mb: int = 128
    concurrency: int = 100
    max_instances: int = os.cpu_count() or 1

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Limits from what `to_json` gave; members this version does not know are passed over."""
        known = set(cls.__struct_fields__)
        return cls(**{name: value for name, value in stored.items() if name in known})

    def to_json(self) -> dict[str, int]:
        return asdict(self)

    def changed(self, changes: Mapping[str, Any]) -> Limits:
        """These limits with `changes` applied. Raises InvalidInput for a value out of its bounds."""
        for name, value in changes.items():
            check_bound(name, value)
        return replace(self, **changes)


def check_bound(name: str, value: object, *, shown_as: str | None = None) -> int:
    """The value, when it is a whole number within the bounds of `name`. Raises InvalidInput."""
    if name not in BOUNDS:
        raise InvalidInput(f"limits: {name[:100]} is not one of {', '.join(BOUNDS)}")
    low, high = BOUNDS[name]
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidInput(f"{shown_as or name} must be a whole number from {low} to {high}")
    return value


def from_runtime_config(config: Mapping[str, Any] | None) -> dict[str, int]:
    """The limits that a Kapso `runtime_config` names: `timeout` in seconds, `memory` in MB, or our own names.

    Other members are free-form and pass. Raises InvalidInput when a limit is out of bounds.
    """
    changes: dict[str, int] = {}
    for name, value in (config or {}).items():
        if name == "timeout":
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InvalidInput("runtime_config.timeout must be a number of seconds")
            # What overflows, or is no number of milliseconds, is out of bounds like any other.
            milliseconds = value * 1000
            whole = round(milliseconds) if isinstance(milliseconds, int) or math.isfinite(milliseconds) else 0
            changes["timeout_ms"] = check_bound("timeout_ms", whole, shown_as="runtime_config.timeout in milliseconds")
        elif name == "memory":
            changes["memory_limit_mb"] = check_bound("memory_limit_mb", value, shown_as="runtime_config.memory")
        elif name in ("timeout_ms", "cpu_ms", "memory_limit_mb"):
            changes[name] = check_bound(name, value, shown_as=f"runtime_config.{name}")
    return changes
