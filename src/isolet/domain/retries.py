"""When what failed is tried again: a function's `retry` setting, and the schedule of callbacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from isolet.errors import InvalidInput

RETRY_AFTER_MAX_MS = 24 * 3_600_000
_JITTER = 0.1


class Retry(Struct, frozen=True, kw_only=True):
    """A function's `retry` setting. The delay doubles from `backoff_ms` up to `backoff_max_ms`."""

    attempts: int = 1
    backoff_ms: int = 1_000
    backoff_max_ms: int = 3_600_000
    statuses: tuple[int, ...] = (500, 502, 503, 504)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "statuses": list(self.statuses)}

    def delay_ms(self, attempts: int, status: int, random: float) -> int | None:
        """How long to wait after so many attempts, the last with `status`; None when there is to be no other."""
        if attempts >= self.attempts or status not in self.statuses:
            return None
        return jittered(min(self.backoff_ms * 2 ** (attempts - 1), self.backoff_max_ms), random)


_RETRY_BOUNDS = {"attempts": (1, 20), "backoff_ms": (0, 3_600_000), "backoff_max_ms": (0, 86_400_000)}


def check_retry(value: object) -> Retry:
    """From JSON; None is the default. Raises InvalidInput."""
    if value is None:
        return Retry()
    if not isinstance(value, Mapping):
        raise InvalidInput("retry must be an object or null")
    values: dict[str, Any] = {}
    for name, given in value.items():
        if name == "statuses":
            values[name] = _check_statuses(given)
        elif name in _RETRY_BOUNDS:
            low, high = _RETRY_BOUNDS[name]
            if isinstance(given, bool) or not isinstance(given, int) or not low <= given <= high:
                raise InvalidInput(f"retry.{name} must be a whole number from {low} to {high}")
            values[name] = given
        else:
            raise InvalidInput(f"retry.{name} is not known")
    return Retry(**values)


def _check_statuses(given: object) -> tuple[int, ...]:
    if not isinstance(given, list) or not all(
        isinstance(status, int) and not isinstance(status, bool) and 300 <= status <= 599 for status in given
    ):
        raise InvalidInput("retry.statuses must be a list of statuses from 300 to 599")
    return tuple(dict.fromkeys(given))


def jittered(delay_ms: int, random: float) -> int:
    """The delay, ten per cent more or less; `random` is from 0 to 1."""
    return round(delay_ms * (1 - _JITTER + 2 * _JITTER * random))


def delivery_delay_ms(
    schedule_s: Sequence[float], attempts: int, random: float, *, retry_after_ms: int = 0
) -> int | None:
    """How long to wait after so many attempts at a callback; None when the schedule is used up."""
    if attempts >= len(schedule_s):
        return None
    return max(jittered(round(schedule_s[attempts] * 1000), random), min(retry_after_ms, RETRY_AFTER_MAX_MS))
