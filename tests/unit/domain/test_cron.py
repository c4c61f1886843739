from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolet.domain.cron import Cron, Dialect, first, read_cron
from isolet.errors import InvalidInput

_YEAR = datetime(2026, 12, 31, 23, 59, tzinfo=UTC), datetime(2027, 12, 31, 23, 59, tzinfo=UTC)
_STEP = timedelta(minutes=15)
_EVERY_DAY = lambda day: True  # noqa: E731


def _cron(text: str, zone: str = "UTC", dialect: str = "standard") -> Cron:
    return read_cron(text, zone=zone, dialect=dialect)


def _due(cron: Cron, start: datetime, end: datetime) -> list[datetime]:
    return list(takewhile(lambda due: due <= end, cron.after(start)))


def _by_elapsed_time(zone: ZoneInfo, hours: range, minutes: tuple[int, ...], day) -> Iterator[datetime]:
    """Each quarter of an hour that passes, where the wall shows a wanted time."""
    now = _YEAR[0].replace(minute=45) + _STEP
    while now <= _YEAR[1]:
        wall = now.astimezone(zone)
        if wall.hour in hours and wall.minute in minutes and day(wall.date()):
            yield now
        now += _STEP


def _by_wall_clock(zone: ZoneInfo, hours: tuple[int, ...], minutes: tuple[int, ...], day) -> Iterator[datetime]:
    """Each wanted time of each day: one that is skipped is right after the gap, a repeated one comes once."""
    found: set[datetime] = set()
    for number in range(-1, 367):
        today = date(2027, 1, 1) + timedelta(days=number)
        for hour in hours if day(today) else ():
            for minute in minutes:
                naive = datetime.combine(today, time(hour, minute))
                while naive.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) != naive:
                    naive += timedelta(minutes=1)
                found.add(naive.replace(tzinfo=zone).astimezone(UTC))
    yield from sorted(due for due in found if _YEAR[0] < due <= _YEAR[1])


def _weekday(*wanted: int):
    return lambda day: day.isoweekday() in wanted


def _day(*wanted: int):
    return lambda day: day.day in wanted


def _last(day: date) -> int:
    return calendar.monthrange(day.year, day.month)[1]


def _last_friday_of_summer(day: date) -> bool:
    return 6 <= day.month <= 8 and day.isoweekday() == 5 and day.day > _last(day) - 7


def _friday_or_13th(day: date) -> bool:
    return day.day == 13 or day.isoweekday() == 5


def _last_working_day(day: date) -> bool:
    return day.day == max(n for n in range(1, _last(day) + 1) if calendar.weekday(day.year, day.month, n) < 5)


_WALL, _ELAPSED = _by_wall_clock, _by_elapsed_time
_SCHEDULES = [
    ("30 2 * * *", "Europe/Berlin", _WALL, (2,), (30,), _EVERY_DAY),
    ("0 9 * * MON-FRI", "Europe/Berlin", _WALL, (9,), (0,), _weekday(1, 2, 3, 4, 5)),
    ("*/15 * * * *", "Europe/Berlin", _ELAPSED, range(24), (0, 15, 30, 45), _EVERY_DAY),
    ("0 0 L * *", "Europe/Berlin", _WALL, (0,), (0,), lambda day: day.day == _last(day)),
    ("15 1,2,3 * * *", "America/New_York", _WALL, (1, 2, 3), (15,), _EVERY_DAY),
    ("0 * * * *", "America/New_York", _ELAPSED, range(24), (0,), _EVERY_DAY),
    ("45 23 1,15 * *", "America/New_York", _WALL, (23,), (45,), _day(1, 15)),
    ("0 8 * * 1#1", "America/New_York", _WALL, (8,), (0,), lambda day: day.isoweekday() == 1 and day.day <= 7),
    ("0 2 * * *", "Australia/Lord_Howe", _WALL, (2,), (0,), _EVERY_DAY),
    ("15 2 * * *", "Australia/Lord_Howe", _WALL, (2,), (15,), _EVERY_DAY),
    ("*/30 1-3 * * *", "Australia/Lord_Howe", _ELAPSED, range(1, 4), (0, 30), _EVERY_DAY),
    ("0 12 * 6-8 5L", "Australia/Lord_Howe", _WALL, (12,), (0,), _last_friday_of_summer),
    ("0 0 * * *", "America/Sao_Paulo", _WALL, (0,), (0,), _EVERY_DAY),
    ("0 0 13 * FRI", "America/Sao_Paulo", _WALL, (0,), (0,), _friday_or_13th),
    ("30 */6 * * *", "America/Sao_Paulo", _ELAPSED, range(0, 24, 6), (30,), _EVERY_DAY),
    ("0 0 29 FEB-MAR *", "America/Sao_Paulo", _WALL, (0,), (0,), lambda day: day.day == 29 and day.month in (2, 3)),
    ("0 0 * * 0", "UTC", _WALL, (0,), (0,), _weekday(7)),
    ("0 0 * * 7", "UTC", _WALL, (0,), (0,), _weekday(7)),
    ("0 5/6 * * *", "UTC", _WALL, (5, 11, 17, 23), (0,), _EVERY_DAY),
    ("0 6 LW * *", "UTC", _WALL, (6,), (0,), _last_working_day),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "zone", "rule", "hours", "minutes", "day"), _SCHEDULES, ids=[f"{row[0]} {row[1]}" for row in _SCHEDULES]
)
def test_a_year_of_due_times_equals_an_independent_computation(text, zone, rule, hours, minutes, day) -> None:
    expected = list(rule(ZoneInfo(zone), hours, minutes, day))
    assert len(expected) >= 1
    assert _due(_cron(text, zone), *_YEAR) == expected


# The table of docs/guide/schedules.md: times of the wall in, times in UTC out.
_CHANGES = [
    ("Europe/Berlin", "30 2 * * *", "2027-03-27T12:00", ["2027-03-28T01:00", "2027-03-29T00:30"]),
    ("Europe/Berlin", "*/30 * * * *", "2027-03-28T00:31", ["2027-03-28T01:00", "2027-03-28T01:30"]),
    ("Europe/Berlin", "30 2 * * *", "2027-10-30T12:00", ["2027-10-31T00:30", "2027-11-01T01:30"]),
    ("Europe/Berlin", "30 * * * *", "2027-10-31T00:00", ["2027-10-31T00:30", "2027-10-31T01:30", "2027-10-31T02:30"]),
    ("America/New_York", "30 2 * * *", "2027-03-13T12:00", ["2027-03-14T07:00", "2027-03-15T06:30"]),
    ("America/New_York", "30 1 * * *", "2027-11-06T12:00", ["2027-11-07T05:30", "2027-11-08T06:30"]),
    ("America/New_York", "30 1 * * *", "2027-11-07T06:15", ["2027-11-08T06:30"]),
    ("Australia/Lord_Howe", "15 2 * * *", "2027-10-02T00:00", ["2027-10-02T15:30", "2027-10-03T15:15"]),
    ("Australia/Lord_Howe", "45 1 * * *", "2027-04-03T12:00", ["2027-04-03T14:45", "2027-04-04T15:15"]),
    ("America/Sao_Paulo", "0 0 * * *", "2027-10-16T12:00", ["2027-10-17T03:00", "2027-10-18T03:00"]),
]


@pytest.mark.parametrize(("zone", "text", "start", "expected"), _CHANGES)
def test_changes_of_the_clock_follow_debians_rule(zone: str, text: str, start: str, expected: list[str]) -> None:
    moment = datetime.fromisoformat(start).replace(tzinfo=UTC)
    assert [due.isoformat()[:16] for due in first(_cron(text, zone), moment, len(expected))] == expected


def test_a_start_within_a_repeated_hour_finds_no_due_time_again() -> None:
    cron = _cron("30 2 * * *", "Europe/Berlin")
    # Half past two comes at 00:30 and at 01:30 in UTC.
    for minute in range(0, 60, 5):
        moment = datetime(2027, 10, 31, 1, minute, tzinfo=UTC)
        assert cron.next_after(moment) == datetime(2027, 11, 1, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cloudflare", "standard"),
    [
        ("0 0 * * 1", "0 0 * * SUN"),
        ("0 0 * * 7", "0 0 * * SAT"),
        ("0 18 * * 6L", "0 18 * * 5L"),
        ("0 0 * * 2-6", "0 0 * * MON-FRI"),
        ("0 0 * * 2-6/2", "0 0 * * 1-5/2"),
        ("0 0 * * 2/2", "0 0 * * 1-6/2"),
        ("0 0 * * */2", "0 0 * * 0,2,4,6"),
        ("0 0 * * 1,3,7", "0 0 * * SUN,TUE,SAT"),
        ("0 0 * * 2#1", "0 0 * * MON#1"),
        ("0 0 * * mon-fri", "0 0 * * 1-5"),
        ("0 0 * * MON-6", "0 0 * * 1-5"),
        ("59 23 LW * *", "59 23 LW * *"),
        ("0 0 1,2 * *", "0 0 1,2 * *"),
    ],
)
def test_weekdays_of_cloudflares_dialect_begin_with_sunday_as_1(cloudflare: str, standard: str) -> None:
    converted = _cron(cloudflare, dialect="cloudflare")
    assert converted.text == cloudflare
    assert _due(converted, *_YEAR) == _due(_cron(standard), *_YEAR)


@pytest.mark.parametrize("text", ["0 0 * * 0", "0 0 * * 8", "0 0 * * 0-5", "0 0 15W * *", "0 0 * * 1-8", "0 0 * * 9L"])
def test_weekdays_out_of_cloudflares_dialect_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^cron: "):
        _cron(text, dialect="cloudflare")


@pytest.mark.parametrize(
    ("alias", "fields"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@Midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("  0   9 * * mon ", "0 9 * * MON"),
    ],
)
def test_names_stand_for_expressions(alias: str, fields: str) -> None:
    assert (_cron(alias).fields, _cron(alias).text) == (fields, alias)


def test_a_zone_within_the_expression_wins() -> None:
    cron = _cron("CRON_TZ=Asia/Tokyo 0 9 * * *", "Europe/Berlin")
    assert (cron.zone, cron.text) == ("Asia/Tokyo", "CRON_TZ=Asia/Tokyo 0 9 * * *")
    assert first(cron, datetime(2027, 1, 1, tzinfo=UTC), 1) == [datetime(2027, 1, 2, tzinfo=UTC)]
    assert read_cron("0 9 * * *").zone == "UTC"
    assert "(Asia/Tokyo)" in cron.explained()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be a cron expression"),
        (None, "must be a cron expression"),
        (5, "must be a cron expression"),
        ("* * * *", "it has 4 fields"),
        ("0 * * * * *", "six fields; leave out the seconds"),
        ("60 * * * *", "minute"),
        ("* 24 * * *", "hour"),
        ("* * 0 * *", "day-of-month"),
        ("* * * 13 *", "month"),
        ("* * * * 9", "day-of-week"),
        ("*/0 * * * *", "minute"),
        ("5-1 * * * *", "minute"),
        ("a b c d e", "minute"),
        ("@reboot", "@hourly"),
        ("@every 5m", "@hourly"),
        ("0 0 30 2 *", "day-of-month"),
        ("0 0 */40 * MON#5", "is never due"),
        ("CRON_TZ=Mars/Olympus 0 0 * * *", "'Mars/Olympus' is not the name of a time zone"),
        ("CRON_TZ=Europe/Berlin", "is not a cron expression"),
        ("1," * 200 + "1 * * * *", "at most 256 characters"),
        ("\ud800 * * * *", "minute"),
        ("* * * * *\x00", "day-of-week"),
    ],
)
def test_a_bad_expression_names_the_field(text: object, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_cron(text, field="config.schedule")
    assert refused.value.message.startswith("config.schedule: ")
    assert words in refused.value.message


@pytest.mark.parametrize(
    "zone", ["", "Berlin", "europe/berlin", "../../etc/passwd", "localtime", 5, "UTC\x00", "x" * 9_999]
)
def test_a_bad_zone_is_refused(zone: object) -> None:
    with pytest.raises(InvalidInput, match=r"^timezone: ") as refused:
        read_cron("* * * * *", zone=zone)
    assert len(refused.value.message) < 200


def test_an_unknown_dialect_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^dialect: must be one of standard, cloudflare$"):
        read_cron("* * * * *", dialect="quartz")


@given(st.text(alphabet="0123456789*/,-#LW@?MONSUJA ", max_size=40), st.sampled_from(list(Dialect)))
def test_any_text_is_read_or_refused(text: str, dialect: Dialect) -> None:
    try:
        cron = read_cron(text, dialect=dialect)
    except InvalidInput:
        return
    due = first(cron, datetime(2027, 1, 1, tzinfo=UTC), 3)
    assert due == sorted(set(due))
    assert cron.explained()
