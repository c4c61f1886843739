import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolet.clock import SystemClock, iso, parse_iso

_YEAR_9999_MS = 253_402_300_799_999


def test_the_system_clock_counts_milliseconds_since_the_epoch() -> None:
    before = time.time()
    now_ms = SystemClock().now_ms()
    assert before * 1000 - 1 <= now_ms <= time.time() * 1000


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_769_860_800_007, "2026-01-31T12:00:00.007Z"),
        (_YEAR_9999_MS, "9999-12-31T23:59:59.999Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        # A function may have said so, in records of old.
        (10**18, "9999-12-31T23:59:59.999Z"),
        (-(10**18), "0001-01-01T00:00:00.000Z"),
    ],
)
def test_a_time_is_shown_in_utc_with_milliseconds(ms: int, text: str) -> None:
    assert iso(ms) == text


@given(st.integers(0, _YEAR_9999_MS))
def test_a_shown_time_is_read_back_exactly(ms: int) -> None:
    assert parse_iso(iso(ms)) == ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-01-31T12:00:00", 1_769_860_800_000),
        ("2026-01-31T12:00:00+02:00", 1_769_853_600_000),
        ("2026-01-31", 1_769_817_600_000),
        ("2026-01-31T12:00:00.1239Z", 1_769_860_800_123),
    ],
)
def test_a_time_without_a_zone_is_utc(text: str, ms: int) -> None:
    assert parse_iso(text) == ms


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "1769860800000000"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)iso|month"):
        parse_iso(text)
