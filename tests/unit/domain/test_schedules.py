from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from isolet.domain.cron import read_cron
from isolet.domain.schedules import MISSED_COUNTED_MAX, Missed, Plan, Policies, jitter, plan
from isolet.errors import InvalidInput

MINUTELY = read_cron("* * * * *")
NOON = datetime(2027, 6, 1, 12, tzinfo=UTC)


def _plan(
    missed: str, last: timedelta, now: timedelta, *, since: timedelta | None = None, window: int = 86_400
) -> Plan:
    policies = Policies(missed=Missed(missed), missed_window_s=window)
    return plan(
        MINUTELY, policies, last_due=NOON + last, now=NOON + now, since=NOON + (last if since is None else since)
    )


def _minutes(of: Plan) -> list[float]:
    return [(run - NOON) / timedelta(minutes=1) for run in of.runs]


def test_a_due_time_that_has_just_come_is_run_whatever_the_policy_of_missed_ones() -> None:
    for missed in Missed:
        planned = _plan(missed, timedelta(), timedelta(minutes=1, milliseconds=40))
        assert (_minutes(planned), planned.missed) == ([1], 0)
        assert (planned.last_due, planned.next_due) == (NOON + timedelta(minutes=1), NOON + timedelta(minutes=2))


def test_nothing_is_due_between_two_due_times() -> None:
    planned = _plan("all", timedelta(), timedelta(seconds=59))
    assert planned == Plan(runs=(), missed=0, last_due=NOON, next_due=NOON + timedelta(minutes=1))


@pytest.mark.parametrize(
    ("missed", "runs", "count"),
    [("one", [200], 199), ("none", [], 200), ("all", list(range(101, 201)), 100)],
)
def test_two_hundred_missed_due_times(missed: str, runs: list[int], count: int) -> None:
    planned = _plan(missed, timedelta(), timedelta(minutes=200, seconds=30))
    assert (_minutes(planned), planned.missed) == (runs, count)
    assert planned.next_due == NOON + timedelta(minutes=201)


@pytest.mark.parametrize(("missed", "runs", "count"), [("one", [5], 4), ("none", [5], 4), ("all", [1, 2, 3, 4, 5], 0)])
def test_a_due_time_on_time_stands_for_the_missed_one(missed: str, runs: list[int], count: int) -> None:
    planned = _plan(missed, timedelta(), timedelta(minutes=5, seconds=1))
    assert (_minutes(planned), planned.missed) == (runs, count)


@pytest.mark.parametrize(("missed", "runs", "count"), [("one", [1], 0), ("none", [], 1), ("all", [1], 0)])
def test_a_due_time_before_the_server_began_is_missed_however_late(missed: str, runs: list[int], count: int) -> None:
    planned = _plan(missed, timedelta(), timedelta(seconds=62), since=timedelta(seconds=61))
    assert (_minutes(planned), planned.missed) == (runs, count)


@pytest.mark.parametrize(("missed", "runs", "count"), [("one", [], 60), ("all", [], 60)])
def test_what_is_older_than_the_window_is_not_run(missed: str, runs: list[int], count: int) -> None:
    planned = _plan(missed, timedelta(), timedelta(minutes=60, seconds=50), window=30)
    assert (_minutes(planned), planned.missed) == (runs, count)


def test_a_clock_that_is_set_back_runs_nothing_twice() -> None:
    planned = _plan("all", timedelta(), timedelta(hours=-2))
    assert planned == Plan(runs=(), missed=0, last_due=NOON, next_due=NOON + timedelta(minutes=1))


def test_a_clock_that_is_set_forward_misses_what_it_passed_over() -> None:
    planned = _plan("one", timedelta(), timedelta(hours=2, seconds=30))
    assert (_minutes(planned), planned.missed) == ([120], 119)


def test_the_count_of_missed_due_times_is_bounded() -> None:
    planned = _plan("none", timedelta(days=-200), timedelta(), window=0)
    assert planned.missed == MISSED_COUNTED_MAX
    assert planned.next_due == NOON + timedelta(minutes=1)


def test_jitter_is_of_the_schedule_and_bounded() -> None:
    offsets = {jitter(f"schedule-{number}", 60) for number in range(200)}
    assert len(offsets) > 190
    assert all(timedelta() <= offset < timedelta(seconds=60) for offset in offsets)
    assert jitter("schedule-1", 60) == jitter("schedule-1", 60)
    assert jitter("schedule-1", 0) == timedelta()


def test_policies_are_checked() -> None:
    changed = Policies().changed({"overlap": "replace", "missed": "all", "retries": 3, "jitter_s": 5})
    assert changed == Policies(overlap="replace", missed="all", retries=3, jitter_s=5)
    assert changed.to_json()["missed_window_s"] == 86_400


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("overlap", "both"),
        ("overlap", ["skip"]),
        ("missed", None),
        ("missed_window_s", 100 * 365 * 86_400),
        ("missed_window_s", -1),
        ("jitter_s", 3_601),
        ("retries", True),
        ("retries", 1.5),
        ("retry_backoff_s", 0),
        ("pause_after_failures", "3"),
        ("unknown", 1),
    ],
)
def test_a_bad_policy_names_itself(name: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match=f"^{name}: "):
        Policies().changed({name: value})
