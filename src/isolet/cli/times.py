"""Times as people give them on a command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from isolet.cli.failures import Usage

_AGO = re.compile(r"(\d{1,9})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(option: str, text: str | None) -> str | None:
    """`10m` is ten minutes ago; anything else is for the server to read. Raises Usage for what is too long ago."""
    found = None if text is None else _AGO.fullmatch(text)
    if found is None:
        return text
    try:
        ago = timedelta(**{_UNITS[found[2]]: int(found[1])})
        return (datetime.now(UTC) - ago).isoformat(timespec="milliseconds")
    except OverflowError:
        raise Usage(f"{option}: {text} is too long ago") from None
