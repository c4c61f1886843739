"""When a connection is told something unasked, by a clock of the test's own."""

from __future__ import annotations

from isolet.realtime.timing import Due, Pace, Timing

PACE = Pace(frames_s=10, idle_s=90)


def run(timing: Timing, start: float, end: float) -> list[tuple[float, Due]]:
    """All that is due in a time, by asking only when `next_at` says so."""
    found: list[tuple[float, Due]] = []
    now = start
    while (now := max(now, timing.next_at)) < end:
        due = timing.due(now)
        assert due, f"nothing is due at {now}"
        found.extend((now, one) for one in due)
        if due[-1] in (Due.TOKEN_ENDED, Due.IDLE):
            break
        timing.came(now)
    return found


def test_a_heartbeat_comes_each_half_minute() -> None:
    assert run(Timing(PACE, 1000), 1000, 1125) == [(1000 + 30 * n, Due.HEARTBEAT) for n in (1, 2, 3, 4)]


def test_a_clock_that_stood_still_brings_one_heartbeat() -> None:
    timing = Timing(PACE, 0)
    timing.came(1000)
    assert timing.due(1000) == [Due.HEARTBEAT]
    assert timing.due(1001) == []
    timing.came(1030)
    assert timing.due(1030) == [Due.HEARTBEAT]


def test_a_token_is_warned_of_a_minute_before_it_ends() -> None:
    timing = Timing(PACE, 0)
    timing.token_ends(100)
    tokens = [one for one in run(timing, 0, 200) if one[1] is not Due.HEARTBEAT]
    assert tokens == [(40, Due.TOKEN_EXPIRING), (100, Due.TOKEN_ENDED)]


def test_a_token_that_ends_sooner_is_warned_of_at_once_and_a_new_one_counts_anew() -> None:
    timing = Timing(PACE, 0)
    timing.token_ends(5)
    assert timing.due(0) == [Due.TOKEN_EXPIRING]
    assert timing.next_at == 5
    timing.token_ends(70)
    assert timing.due(5) == []
    assert timing.due(10) == [Due.TOKEN_EXPIRING]
    timing.token_ends(None)
    assert timing.due(29) == []
    assert timing.next_at == 30


def test_a_client_without_any_sign_is_idle() -> None:
    timing = Timing(PACE, 0)
    timing.came(50)
    assert Due.IDLE not in timing.due(139)
    assert timing.due(140) == [Due.IDLE]


def test_frames_are_counted_by_the_second_with_five_seconds_at_once() -> None:
    timing = Timing(PACE, 0)
    assert [timing.takes_frame(0) for _ in range(51)] == [True] * 50 + [False]
    assert [timing.takes_frame(1) for _ in range(11)] == [True] * 10 + [False]
    assert [timing.takes_frame(1000) for _ in range(51)] == [True] * 50 + [False]
