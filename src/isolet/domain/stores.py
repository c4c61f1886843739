"""The stores of a project by their names, and the bindings under which a function reaches them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from isolet.domain.secrets import RESERVED_NAMES
from isolet.errors import InvalidInput

# The namespace that functions see as `KV`, and the database that they see as `DB`. They always exist.
DEFAULT = "default"
# Of each kind, besides `default`.
STORES_MAX = 50
BINDINGS_MAX = 50
_STORE = re.compile(r"[a-z0-9-]{1,63}")
_BINDING = re.compile(r"[A-Z][A-Z0-9_]{0,127}")
_SHOWN_CHARS = 60


class StoreKind(StrEnum):
    """The values are the types of bindings."""

    KV = "kv"
    DATABASE = "d1"

    @property
    def noun(self) -> str:
        """What a store of the kind is called, in bindings and addresses too."""
        return "namespace" if self is StoreKind.KV else "database"


def check_store(kind: StoreKind, name: object) -> str:
    """Raises InvalidInput."""
    if not isinstance(name, str) or not _STORE.fullmatch(name):
        raise InvalidInput(f"the name of a {kind.noun} is 1 to 63 lower case letters, digits and hyphens")
    return name


def check_bindings(value: object) -> dict[str, Any] | None:
    """`{NAME: {"type": "kv", "namespace"} or {"type": "d1", "database"}}` with all members; None for no bindings.

    Raises InvalidInput naming the binding.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise InvalidInput("bindings must be an object")
    if len(value) > BINDINGS_MAX:
        raise InvalidInput(f"bindings: a function may have {BINDINGS_MAX}")
    return {_check_name(name): _check_binding(name, member) for name, member in value.items()} or None


def named_stores(bindings: Mapping[str, Any] | None) -> set[tuple[StoreKind, str]]:
    """The stores that bindings name, `default` left out."""
    kinds = [(StoreKind(binding["type"]), binding) for binding in (bindings or {}).values()]
    found = {(kind, str(binding[kind.noun])) for kind, binding in kinds}
    return {(kind, name) for kind, name in found if name != DEFAULT}


def check_free(bindings: Mapping[str, Any] | None, secrets: Iterable[str]) -> None:
    """Raises InvalidInput for a name that a secret has."""
    for name in secrets:
        if name in (bindings or {}):
            raise InvalidInput(f"bindings: {name} is the name of a secret")


def _check_name(name: str) -> str:
    if name in RESERVED_NAMES:
        raise InvalidInput(f"bindings: {name} is always the project's {DEFAULT!r} store")
    if not _BINDING.fullmatch(name):
        raise InvalidInput(
            f"bindings: {name[:_SHOWN_CHARS]!r} must be upper case letters, digits and _, and begin with a letter"
        )
    return name


def _check_binding(name: str, value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"bindings.{name} must be an object")
    kind = next((kind for kind in StoreKind if kind.value == value.get("type")), None)
    if kind is None:
        raise InvalidInput(f"bindings.{name}.type must be one of {', '.join(StoreKind)}")
    if unknown := sorted(set(value) - {"type", kind.noun}):
        raise InvalidInput(f"bindings.{name}: {unknown[0][:_SHOWN_CHARS]!r} is not known for the type {kind}")
    try:
        store = check_store(kind, value.get(kind.noun, DEFAULT))
    except InvalidInput as exc:
        raise InvalidInput(f"bindings.{name}: {exc.message}") from exc
    return {"type": kind.value, kind.noun: store}
