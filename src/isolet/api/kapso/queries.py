"""What the queries of Kapso's lists say."""

from __future__ import annotations

from collections.abc import Mapping

from isolet.clock import parse_iso
from isolet.domain.choices import Choice, one_of
from isolet.domain.functions import is_storable
from isolet.errors import InvalidInput

Query = Mapping[str, str]


def chosen(query: Query, name: str, choices: type[Choice]) -> Choice | None:
    """One of a few; None for none. Raises InvalidInput."""
    text = query.get(name) or None
    return None if text is None else one_of(name, text, choices)


def plain(query: Query, name: str) -> str | None:
    """A text; None for none. Raises InvalidInput for what no database looks for."""
    text = query.get(name) or None
    if text is not None and not is_storable(text):
        raise InvalidInput(f"{name} holds characters that cannot be stored")
    return text


def moment(query: Query, name: str) -> int | None:
    """A time, in milliseconds. Raises InvalidInput."""
    text = query.get(name)
    if not text:
        return None
    try:
        return parse_iso(text)
    except (ValueError, OverflowError):
        raise InvalidInput(f"{name} must be a time such as 2027-01-31T12:00:00Z") from None
