"""Environment variables: arbitrary names, text values, below the platform's own."""

from __future__ import annotations

from collections.abc import Mapping

from isolet.domain.functions import is_storable
from isolet.errors import InvalidInput

RESERVED_PREFIX = "BUTTERBASE_"
NAME_MAX_CHARS = 256
TOTAL_MAX_BYTES = 262_144
VALUES_MAX = 1_000


def check_values(value: object) -> dict[str, str]:
    """A whole set. Raises InvalidInput naming the variable."""
    if not isinstance(value, Mapping):
        raise InvalidInput("envVars: must be an object of strings")
    for name, text in value.items():
        _check_name(name)
        _check_text(name, text)
    return bounded(dict(value))


def check_changes(value: object) -> dict[str, str | None]:
    """Variables to set, or with null to delete; at least one. Raises InvalidInput, and then nothing is to change."""
    if not isinstance(value, Mapping) or not value:
        raise InvalidInput("envVars: must be an object of at least one variable")
    for name, text in value.items():
        _check_name(name)
        if text is not None:
            _check_text(name, text)
    return dict(value)


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > NAME_MAX_CHARS or not is_storable(name):
        raise InvalidInput(f"envVars: {name[:NAME_MAX_CHARS]!r} cannot be the name of a variable")
    if name.upper().startswith(RESERVED_PREFIX):
        raise InvalidInput(f"envVars.{name}: names that begin with {RESERVED_PREFIX} are the platform's own")


def _check_text(name: str, text: object) -> None:
    if not isinstance(text, str):
        raise InvalidInput(f"envVars.{name}: must be a string")
    if not is_storable(text):
        raise InvalidInput(f"envVars.{name}: holds characters that cannot be stored")


def bounded(values: dict[str, str], label: str = "envVars") -> dict[str, str]:
    """These variables. Raises InvalidInput when they are too many, or too large together."""
    if len(values) > VALUES_MAX:
        raise InvalidInput(f"{label}: there may be {VALUES_MAX} variables")
    if sum(map(_size, values)) + sum(map(_size, values.values())) > TOTAL_MAX_BYTES:
        raise InvalidInput(f"{label}: all variables together may have {TOTAL_MAX_BYTES} bytes")
    return values


def _size(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))
