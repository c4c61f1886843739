"""Reads the operator's configuration file: TOML whose keys are the settings' names.

It checks names and types; what values mean is up to `settings`.
"""

from __future__ import annotations

import dataclasses
import stat
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from isolet import settings
from isolet.errors import SettingsError
from isolet.settings import Secret, SettingsFile

# A file of settings has some hundred lines; this is no reason to read a disk.
_MAX_BYTES = 1024 * 1024
_WANTED: Mapping[type, tuple[tuple[type, ...], str]] = {
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    bool: ((bool,), "true or false"),
}
_TEXT = ((str,), "text in quotes")
# It is a number, unless it is "off".
_TEXT_OR_NUMBER = ((str, int), "a number, or text in quotes")
_KINDS: Mapping[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a table",
}


def read(path: Path) -> SettingsFile:
    """Raises SettingsError naming the file, and the key or the line that cannot be used."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise SettingsError(f"cannot read {path}: it has more than {_MAX_BYTES} bytes")
        values = tomllib.loads(content.decode())
    except OSError as exc:
        raise SettingsError(f"cannot read {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise SettingsError(f"cannot read {path}: it is not text in UTF-8") from exc
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise SettingsError(f"cannot read {path}: it is not TOML: {exc}") from exc
    known = {field.name: field for field in settings.fields()}
    for name, value in values.items():
        if name not in known:
            raise SettingsError(_unknown(name, known, path))
        _check_type(known[name], value, path)
    return SettingsFile(path=path, values={name: _plain(value) for name, value in values.items()})


def tells_secrets(file: SettingsFile) -> bool:
    """Whether it holds a secret that every user of the machine may read."""
    secrets = {field.name for field in settings.fields() if settings.value_type(field) is Secret}
    if not secrets & file.values.keys():
        return False
    try:
        return bool(file.path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def _unknown(name: str, known: Mapping[str, Any], path: Path) -> str:
    nearest = next(iter(get_close_matches(name.replace("-", "_").lower(), sorted(known), n=1)), None)
    hint = "keys are the flags of `isolet serve` with underscores" if nearest is None else f"did you mean {nearest}?"
    return f"cannot read {path}: {name!r} is no setting; {hint}"


def _check_type(field: dataclasses.Field[Any], value: Any, path: Path) -> None:
    """The value is not shown, because it may be a secret."""
    wanted, words = _WANTED.get(settings.value_type(field), _TEXT)
    if field.name == "dashboard_port":
        wanted, words = _TEXT_OR_NUMBER
    # A bool is an int for Python.
    if isinstance(value, wanted) and isinstance(value, bool) == (wanted == (bool,)):
        return
    kind = _KINDS.get(type(value), "a date or a time")
    raise SettingsError(f"cannot read {field.name} in {path}: it is {kind}, and must be {words}")


def _plain(value: Any) -> Any:
    """Numbers are parsed from text, so that a fraction in place of a whole number is not cut off."""
    return value if isinstance(value, str) else str(value)
