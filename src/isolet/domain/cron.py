"""Cron expressions: when they are due, in their time zone.

Five fields as Debian's cron has them, with names, steps, ranges, `L`, `LW` and `#`. Changes of the clock follow
Debian's rule, too. With a fixed minute and hour, a due time that the clock skips comes right after the gap, and one
that the clock repeats comes once. When the minute or the hour starts with `*`, due times follow elapsed time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError
from msgspec import Struct

from isolet.domain.choices import one_of
from isolet.errors import InvalidInput

EXPRESSION_MAX_CHARS = 256
_ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_ZONE_PREFIX = re.compile(r"CRON_TZ=(\S+)\s+")
_SHOWN_CHARS = 80
# Weekdays of Cloudflare's dialect, 1 to 7 from Sunday, where they stand in a term: alone or at the ends of a range.
_CLOUDFLARE_TERM = re.compile(r"(?P<days>[^/#]+?)(?P<last>L?)(?P<rest>[/#].*)?")
_SATURDAY = 6


class Dialect(StrEnum):
    STANDARD = "standard"
    CLOUDFLARE = "cloudflare"


class Cron(Struct, frozen=True, kw_only=True):
    """`text` is the expression as it was written, `zone` the zone that is in use, `fields` the five standard fields."""

    text: str
    zone: str
    dialect: Dialect
    fields: str

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The due times after a moment, in UTC, oldest first. `moment` must know its zone."""
        before = moment.astimezone(UTC)
        for due in CronSim(self.fields, before.astimezone(_zone(self.zone))):
            due_utc = due.astimezone(UTC)
            # Within an hour that the clock repeats, the library begins with due times of its first round.
            if due_utc > before:
                before = due_utc
                yield due_utc

    def next_after(self, moment: datetime) -> datetime | None:
        """The first due time after a moment; None when there is none for fifty years."""
        return next(self.after(moment), None)

    def explained(self) -> str:
        """The expression as an English sentence, with the zone."""
        text = CronSim(self.fields, datetime(1970, 1, 1, tzinfo=UTC)).explain()
        return f"{text} ({self.zone})"


def read_cron(
    text: object,
    *,
    zone: object = None,
    dialect: object = Dialect.STANDARD,
    field: str = "cron",
    zone_field: str = "timezone",
) -> Cron:
    """From what a caller sent. `CRON_TZ=Zone` before the fields wins over `zone`; without either it is UTC.

    Raises InvalidInput, whose text begins with `field` or `zone_field`: the names that the caller knows them by.
    """
    if not isinstance(text, str) or not text.strip():
        raise InvalidInput(f"{field}: must be a cron expression")
    if len(text) > EXPRESSION_MAX_CHARS:
        raise InvalidInput(f"{field}: must be at most {EXPRESSION_MAX_CHARS} characters")
    one_of("dialect:", dialect, Dialect)
    written = text.strip()
    prefix = _ZONE_PREFIX.match(written)
    name = _zone_name(prefix[1], field) if prefix else _zone_name("UTC" if zone is None else zone, zone_field)
    spec = written[prefix.end() :] if prefix else written
    kind = Dialect(str(dialect))
    try:
        cron = Cron(text=text, zone=name, dialect=kind, fields=_fields(spec, kind))
        never = cron.next_after(datetime(2000, 1, 1, tzinfo=UTC)) is None
    except CronSimError as exc:
        raise InvalidInput(f"{field}: {_shown(written)} is not a cron expression: {_reason(exc)}") from exc
    if never:
        raise InvalidInput(f"{field}: {_shown(written)} is never due")
    return cron


def first(cron: Cron, moment: datetime, count: int) -> list[datetime]:
    """At most so many due times after a moment."""
    return list(islice(cron.after(moment), count))


def _fields(spec: str, dialect: Dialect) -> str:
    """The five fields of an expression. Raises CronSimError."""
    if spec.startswith("@"):
        fields = _ALIASES.get(spec.lower())
        if fields is None:
            raise CronSimError(f"the names are {', '.join(_ALIASES)}")
        return fields
    parts = spec.upper().split()
    if len(parts) == 6:
        raise CronSimError("it has six fields; leave out the seconds, since the shortest interval is a minute")
    if len(parts) != 5:
        raise CronSimError(f"it has {len(parts)} fields, and five are needed: minute, hour, day, month, weekday")
    if dialect is Dialect.CLOUDFLARE:
        parts[4] = ",".join(_from_cloudflare(term) for term in parts[4].split(","))
    return " ".join(parts)


def _from_cloudflare(term: str) -> str:
    """A term of the weekday field, with weekdays from 1 for Sunday, in standard weekdays. Raises CronSimError."""
    if term.startswith("*"):
        return term
    found = _CLOUDFLARE_TERM.fullmatch(term)
    if found is None:
        raise CronSimError("Bad day-of-week")
    days, last, rest = found["days"], found["last"], found["rest"] or ""
    ends = [_weekday(day) for day in days.split("-")]
    if rest.startswith("/") and len(ends) == 1 and not last:
        # A start with a step runs to the end of the week. The standard week has Sunday at both of its ends.
        ends.append(str(_SATURDAY))
    return "-".join(ends) + last + rest


def _weekday(day: str) -> str:
    if not day.isdecimal() or not day.isascii():
        return day
    if not 1 <= int(day) <= 7:
        raise CronSimError("Bad day-of-week: they are 1 for Sunday to 7 for Saturday")
    return str(int(day) - 1)


def _zone_name(value: object, field: str) -> str:
    if not isinstance(value, str) or value not in _zone_names():
        shown = _shown(value) if isinstance(value, str) else "it"
        raise InvalidInput(f"{field}: {shown} is not the name of a time zone, such as Europe/Berlin")
    return value


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    """Without links that a system adds for itself, such as `localtime`."""
    return frozenset(available_timezones()) - {"localtime"}


@lru_cache(maxsize=256)
def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…")


def _reason(error: CronSimError) -> str:
    """`Bad day-of-month` says which field, not what is wrong with it: the library does not tell."""
    text = str(error)
    return text.replace("Bad ", "the field is not valid: ") if text.startswith("Bad ") else text
