"""Schedules: their policies, and which of their due times are run.

A due time is *missed* when no server was there to run it: it lies before this server began to look, or it is found
more than `GRACE_S` late, because the process was suspended or the clock was set forward. After the clock was set back,
nothing is due twice: due times are looked for after the last one that was dealt with.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice, takewhile
from typing import Any

from isolet.domain.cron import Cron
from isolet.errors import InvalidInput

GRACE_S = 10
MISSED_RUNS_MAX = 100
# More than so many due times before the window are not counted: a schedule of each minute has them in five months.
MISSED_COUNTED_MAX = 200_000
BACKFILL_MAX = 1_000


class Overlap(StrEnum):
    """What becomes of a firing while the one before it runs."""

    SKIP = "skip"
    QUEUE = "queue"
    ALLOW = "allow"
    REPLACE = "replace"


class Missed(StrEnum):
    """Which of the missed due times are run later: the newest, none, or all."""

    ONE = "one"
    NONE = "none"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """`missed_window_s` is how old a missed due time may be to be run. `jitter_s` spreads schedules over seconds.

    `retries` are further attempts at a firing that failed, the first after `retry_backoff_s`, which doubles each time.
    `pause_after_failures` firings that failed in a row pause the schedule; 0 is never.
    """

    overlap: Overlap = Overlap.SKIP
    missed: Missed = Missed.ONE
    missed_window_s: int = 86_400
    jitter_s: int = 0
    retries: int = 0
    retry_backoff_s: int = 10
    pause_after_failures: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def changed(self, values: Mapping[str, object]) -> Policies:
        """These policies with those that a caller sent in their place. Raises InvalidInput."""
        return replace(self, **{name: _checked(name, value) for name, value in values.items()})


POLICIES = tuple(field.name for field in fields(Policies))
_BOUNDS = {
    "missed_window_s": (0, 31 * 86_400),
    "jitter_s": (0, 3_600),
    "retries": (0, 20),
    "retry_backoff_s": (1, 3_600),
    "pause_after_failures": (0, 1_000),
}


def _checked(name: str, value: object) -> Any:
    if name == "overlap":
        return _choice(name, value, Overlap)
    if name == "missed":
        return _choice(name, value, Missed)
    if name not in _BOUNDS:
        raise InvalidInput(f"{name}: is not known")
    low, high = _BOUNDS[name]
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidInput(f"{name}: must be a whole number from {low} to {high}")
    return value


def _choice(name: str, value: object, choices: type[Overlap] | type[Missed]) -> Overlap | Missed:
    if not isinstance(value, str) or value not in list(choices):
        raise InvalidInput(f"{name}: must be one of {', '.join(choices)}")
    return choices(value)


def jitter(schedule_id: str, jitter_s: int) -> timedelta:
    """How long after its due times a schedule fires: always the same for one schedule, from 0 up to `jitter_s`."""
    if jitter_s == 0:
        return timedelta()
    share = int.from_bytes(hashlib.sha256(schedule_id.encode()).digest()[:8]) / 2**64
    return timedelta(milliseconds=int(share * jitter_s * 1000))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`runs` are due times to run now, oldest first; `missed` counts those not run; `last_due` was dealt with."""

    runs: tuple[datetime, ...]
    missed: int
    last_due: datetime
    next_due: datetime | None


_KEPT = {Missed.ONE: 1, Missed.NONE: 0, Missed.ALL: MISSED_RUNS_MAX}


def plan(cron: Cron, policies: Policies, *, last_due: datetime, now: datetime, since: datetime) -> Plan:
    """What to do with the due times after `last_due` up to `now`. This server looks for them since `since`.

    Takes microseconds for each due time that passed, and the memory of `MISSED_RUNS_MAX` of them.
    """
    window = now - timedelta(seconds=policies.missed_window_s)
    begin = max(last_due, window - timedelta(microseconds=1))
    missed = sum(1 for _ in islice(takewhile(lambda due: due < window, cron.after(last_due)), MISSED_COUNTED_MAX))
    late = max(since, now - timedelta(seconds=GRACE_S))
    caught_up: deque[datetime] = deque(maxlen=_KEPT[policies.missed])
    on_time: list[datetime] = []
    newest, following = last_due, None
    for due in cron.after(begin):
        if due > now:
            following = due
            break
        newest = due
        if due > late:
            on_time.append(due)
        else:
            missed += 1
            caught_up.append(due)
    if policies.missed is Missed.ONE and on_time:
        caught_up.clear()
    runs = (*caught_up, *on_time)
    return Plan(runs=runs, missed=missed - len(caught_up), last_due=max(newest, begin), next_due=following)
