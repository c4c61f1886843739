"""Reads members of a configuration file with their types; an error names the file, the key and what it must be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from difflib import get_close_matches
from typing import Any, TypeVar

from isolet.workspace.errors import WorkspaceError

T = TypeVar("T")
_SHOWN_CHARS = 60
_WORDS: Mapping[type, str] = {
    str: "text",
    int: "a whole number",
    bool: "true or false",
    dict: "a table",
    list: "a list",
}


class Table:
    """A table of a file. `path` is its own key, as an author writes it."""

    def __init__(self, values: Any, file: str, path: str = "") -> None:
        self.file = file
        self.path = path
        if not isinstance(values, dict):
            raise WorkspaceError(f"{file}: {path or 'the file'} must be a table, not {_shown(values)}")
        self.values: dict[str, Any] = values

    def key(self, name: str) -> str:
        # A bare key of TOML; what is not is shown in quotes.
        plain = name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else f'"{_cut(name)}"'
        return f"{self.path}.{plain}" if self.path else plain

    def error(self, name: str, problem: str) -> WorkspaceError:
        return WorkspaceError(f"{self.file}: {self.key(name)} {problem}")

    def text(self, name: str) -> str | None:
        return self._typed(name, str)

    def flag(self, name: str) -> bool | None:
        return self._typed(name, bool)

    def number(self, name: str) -> int | None:
        return self._typed(name, int)

    def table(self, name: str) -> Table | None:
        found = self._typed(name, dict)
        return None if found is None else Table(found, self.file, self.key(name))

    def tables(self, name: str) -> list[Table] | None:
        """A list of tables."""
        found = self._typed(name, list)
        if found is None:
            return None
        return [Table(item, self.file, f"{self.key(name)}[{number}]") for number, item in enumerate(found)]

    def texts(self, name: str) -> tuple[str, ...] | None:
        """A list of texts."""
        found = self._typed(name, list)
        for number, item in enumerate(found or ()):
            if not isinstance(item, str):
                raise self.error(f"{name}", f"must be a list of text, and [{number}] is {_shown(item)}")
        return None if found is None else tuple(found)

    def subtables(self) -> dict[str, Table]:
        """All members, each of which must be a table."""
        return {name: Table(value, self.file, self.key(name)) for name, value in self.values.items()}

    def day(self, name: str) -> str | None:
        """As text, or as TOML's own date."""
        found = self.values.get(name)
        return found.isoformat() if isinstance(found, date) else self.text(name)

    def text_by_name(self, name: str) -> dict[str, str]:
        """A table of texts."""
        table = self.table(name)
        return {} if table is None else {key: table.required(key) for key in table.values}

    def required(self, name: str) -> str:
        found = self.text(name)
        if not found:
            raise self.error(name, "is required" if found is None else "must not be empty")
        return found

    def check_known(self, known: Collection[str]) -> None:
        """Raises WorkspaceError for another key."""
        for name in self.values:
            if name not in known:
                nearest = get_close_matches(name, sorted(known), n=1)
                hint = f"; did you mean {nearest[0]}?" if nearest else f"; known are {', '.join(sorted(known))}"
                raise self.error(name, f"is not known{hint}")

    def _typed(self, name: str, kind: type[T]) -> T | None:
        found = self.values.get(name)
        if found is None:
            return None
        if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
            raise self.error(name, f"must be {_WORDS[kind]}, not {_shown(found)}")
        return found


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return _WORDS[dict] if isinstance(value, dict) else _WORDS[list]
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"
