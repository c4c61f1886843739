"""Environment variables: arbitrary names, text values, below the platform's own."""

from __future__ import annotations

from collections.abc import Mapping

from isolet.domain.functions import is_storable
from isolet.errors import InvalidMember

NAME_MAX_CHARS = 256
TOTAL_MAX_BYTES = 262_144
VALUES_MAX = 1_000
# What errors call a set of variables; dialects have names of their own for it.
MEMBER = "environment"


def check_values(value: object, *, reserved_prefix: str) -> dict[str, str]:
    """A whole set. No name may begin with `reserved_prefix`, in any case. Raises InvalidMember naming the variable."""
    if not isinstance(value, Mapping):
        raise _invalid(": must be an object of strings")
    for name, text in value.items():
        _check_name(name, reserved_prefix)
        _check_text(name, text)
    return bounded(dict(value))


def check_changes(value: object, *, reserved_prefix: str) -> dict[str, str | None]:
    """Variables to set, or with null to delete; at least one. Raises InvalidMember."""
    if not isinstance(value, Mapping) or not value:
        raise _invalid(": must be an object of at least one variable")
    for name, text in value.items():
        _check_name(name, reserved_prefix)
        if text is not None:
            _check_text(name, text)
    return dict(value)


def _check_name(name: str, reserved_prefix: str) -> None:
    if not name.strip() or len(name) > NAME_MAX_CHARS or not is_storable(name):
        raise _invalid(f": {name[:NAME_MAX_CHARS]!r} cannot be the name of a variable")
    if name.upper().startswith(reserved_prefix):
        raise _invalid(f".{name}: names that begin with {reserved_prefix} are the platform's own")


def _check_text(name: str, text: object) -> None:
    if not isinstance(text, str):
        raise _invalid(f".{name}: must be a string")
    if not is_storable(text):
        raise _invalid(f".{name}: holds characters that cannot be stored")


def bounded(values: dict[str, str], member: str = MEMBER) -> dict[str, str]:
    """These variables. Raises InvalidMember when they are too many, or too large together."""
    if len(values) > VALUES_MAX:
        raise InvalidMember(member, f": there may be {VALUES_MAX} variables")
    if sum(map(_size, values)) + sum(map(_size, values.values())) > TOTAL_MAX_BYTES:
        raise InvalidMember(member, f": all variables together may have {TOTAL_MAX_BYTES} bytes")
    return values


def _size(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _invalid(problem: str) -> InvalidMember:
    return InvalidMember(MEMBER, problem)
