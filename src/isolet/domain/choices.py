"""Values of which there are only a few."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from isolet.errors import InvalidInput

Choice = TypeVar("Choice", bound=StrEnum)


def one_of(label: str, value: object, choices: type[Choice]) -> Choice:
    """Raises InvalidInput, whose text begins with `label`."""
    if not isinstance(value, str) or value not in list(choices):
        raise InvalidInput(f"{label} must be one of {', '.join(choices)}")
    return choices(value)
