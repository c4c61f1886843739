from __future__ import annotations

import itertools

import pytest
from msgspec.structs import replace

from isolet.domain.http_jobs import CALL
from isolet.domain.jobs import (
    Attempt,
    Job,
    JobEvent,
    JobState,
    Result,
    asked_again,
    claimed,
    concluded,
    next_state,
)
from isolet.domain.retries import Retry, check_retry, delivery_delay_ms, jittered
from isolet.domain.shares import shares
from isolet.errors import Conflict, InvalidInput
from isolet.ids import FunctionId, JobId, ProjectId

LISTED = {
    ("queued", "claimed"): "running",
    ("queued", "cancelled"): "cancelled",
    ("running", "succeeded"): "succeeded",
    ("running", "failed"): "failed",
    ("running", "cancelled"): "cancelled",
    ("running", "retried"): "queued",
    ("running", "handed_back"): "queued",
    ("running", "expired"): "queued",
    ("failed", "reopened"): "queued",
    ("succeeded", "reopened"): "queued",
    ("cancelled", "reopened"): "queued",
}


@pytest.mark.parametrize(("state", "event"), [*itertools.product(JobState, JobEvent)])
def test_every_pair_leads_where_it_is_listed_or_raises(state: JobState, event: JobEvent) -> None:
    expected = LISTED.get((state.value, event.value))
    if expected is None:
        with pytest.raises(Conflict, match=f"A job that is {state} cannot be {event}"):
            next_state(state, event)
    else:
        assert next_state(state, event).value == expected


def a_job() -> Job:
    return Job(
        id=JobId("j"),
        kind=CALL,
        project_id=ProjectId("p"),
        function_id=FunctionId("f"),
        function_name="n",
        lane="p:f",
        target="/",
        created_at_ms=0,
        due_at_ms=0,
    )


def test_a_job_that_found_no_room_waits_without_an_attempt() -> None:
    after = concluded(claimed(a_job(), "me", 10), JobEvent.HANDED_BACK, 20, attempt=None, delay_ms=5)
    assert (after.state, after.attempts, after.due_at_ms, after.history) == (JobState.QUEUED, 0, 25, ())


def test_a_job_that_a_server_hands_back_as_it_stops_keeps_its_turn() -> None:
    job = claimed(a_job(), "me", 10)
    after = {event: concluded(job, event, 20, attempt=None) for event in (JobEvent.HANDED_BACK, JobEvent.EXPIRED)}
    assert {event: one.due_at_ms for event, one in after.items()} == {JobEvent.HANDED_BACK: 0, JobEvent.EXPIRED: 20}


@pytest.mark.parametrize(
    ("attempts", "status", "expected"),
    [(1, 503, 100), (2, 503, 200), (3, 503, 300), (4, 503, None), (1, 404, None)],
)
def test_the_delay_doubles_up_to_its_bound_and_attempts_run_out(
    attempts: int, status: int, expected: int | None
) -> None:
    retry = Retry(attempts=4, backoff_ms=100, backoff_max_ms=300)
    assert retry.delay_ms(attempts, status, 0.5) == expected


def test_by_default_a_function_runs_once() -> None:
    assert check_retry(None).delay_ms(1, 500, 0.5) is None


@pytest.mark.parametrize(
    "value",
    [3, {"attempts": 0}, {"attempts": True}, {"attempts": 21}, {"statuses": [200]}, {"statuses": "5xx"}, {"often": 1}],
)
def test_a_retry_setting_out_of_bounds_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput, match=r"^retry"):
        check_retry(value)


def test_a_retry_setting_survives_storing() -> None:
    retry = Retry(attempts=3, statuses=(503,))
    assert check_retry(retry.to_json()) == retry


@pytest.mark.parametrize(("random", "expected"), [(0.0, 900), (0.5, 1000), (1.0, 1100)])
def test_jitter_is_a_tenth_either_way(random: float, expected: int) -> None:
    assert jittered(1000, random) == expected


def test_deliveries_follow_their_schedule_and_what_the_receiver_asks() -> None:
    schedule = (0, 5, 300)
    assert [delivery_delay_ms(schedule, n, 0.5) for n in (1, 2, 3)] == [5_000, 300_000, None]
    assert delivery_delay_ms(schedule, 1, 0.5, retry_after_ms=60_000) == 60_000
    assert delivery_delay_ms(schedule, 1, 0.5, retry_after_ms=10**12) == 24 * 3_600_000


def test_places_go_to_the_project_that_has_the_fewest() -> None:
    taken = shares(["a:1", "a:2", "b:1"], 6, running={"a": 2}, room=lambda _: 10)
    assert taken == {"a:1": 1, "a:2": 1, "b:1": 4}


def test_a_lane_without_room_gets_none() -> None:
    assert shares(["a:1", "b:1"], 5, running={}, room={"a:1": 0, "b:1": 2}.__getitem__) == {"b:1": 2}


def test_a_job_asked_again_is_new_and_asks_for_the_same() -> None:
    job = replace(a_job(), payload="asked", body=b"x", parent_id=JobId("p"))
    attempt = Attempt(at_ms=1, duration_ms=2, status=200)
    ended = concluded(
        claimed(job, "server", 1), JobEvent.SUCCEEDED, 3, attempt=attempt, result=Result(payload="given", body=b"done")
    )

    again = asked_again(ended, JobId("k"), 5)

    assert again == replace(job, id=JobId("k"), created_at_ms=5, due_at_ms=5)
