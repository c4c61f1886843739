"""Why a call was ended from outside: which limit, how much was used, who else was hit."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Self

from msgspec import Struct
from msgspec.structs import asdict, replace


class Limit(StrEnum):
    TIME = "time"
    CPU = "cpu"
    MEMORY = "memory"
    CRASH = "crash"


class KillReport(Struct, frozen=True, kw_only=True):
    """`allowed` and `used` are milliseconds for time and CPU, MiB for memory; a crash has neither.

    `stuck` says that the event loop of the instance did not turn any more, so that the instance was ended with the
    call. `hit` counts the other calls that failed with it, `rerun` those that were run again elsewhere.
    """

    limit: Limit
    at_ms: int
    allowed: int | None = None
    used: int | None = None
    detail: str | None = None
    stuck: bool = False
    hit: int = 0
    rerun: int = 0

    @property
    def message(self) -> str:
        """One sentence for the caller and the record."""
        match self.limit:
            case Limit.TIME:
                return f"Function execution timeout ({self.allowed}ms)"
            case Limit.CPU:
                return f"Function exceeded its CPU limit: it used {self.used} ms of {self.allowed} ms without a pause"
            case Limit.MEMORY:
                return f"Function exceeded its memory limit: it used {self.used} MB of {self.allowed} MB"
            case Limit.CRASH:
                return f"The function's process ended while it ran this call ({self.detail})"

    def counting(self, *, hit: int, rerun: int) -> Self:
        return replace(self, hit=hit, rerun=rerun)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "limit": self.limit.value}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        return cls(**{**stored, "limit": Limit(stored["limit"])})
