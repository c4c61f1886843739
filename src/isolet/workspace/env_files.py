"""Variables of development: `.dev.vars`, or `.env` files where there is none, as wrangler reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from isolet.workspace.errors import WorkspaceError

_NOTHING = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
# What is quoted may go over several lines; a quote that does not end is none.
_ENTRY = re.compile(
    r"""[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*"""
    r"""(?:(?P<quote>["'`])(?P<quoted>(?:\\.|(?!(?P=quote))[^\\])*)(?P=quote)[^\n]*|(?P<plain>[^\n]*))(?:\n|\Z)""",
    re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
_MAX_BYTES = 256 * 1024


def names(environment: str | None) -> list[list[str]]:
    """Of files, most wanted group first; within a group later ones win."""
    of_environment = [f".dev.vars.{environment}"] if environment else []
    plain = [".env", ".env.local"]
    plain += [f".env.{environment}", f".env.{environment}.local"] if environment else []
    return [*([name] for name in of_environment), [".dev.vars"], plain]


def read_env_files(root: Path, environment: str | None) -> dict[str, str]:
    """The variables of the first group of which a file is there. Raises WorkspaceError naming file and line."""
    for group in names(environment):
        found = [name for name in group if (root / name).is_file()]
        if found:
            values: dict[str, str] = {}
            for name in found:
                values |= _parse(name, _text(root / name))
            return values
    return {}


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        if len(data) > _MAX_BYTES:
            raise WorkspaceError(f"{path.name} is larger than {_MAX_BYTES // 1024} KiB")
        return data.decode()
    except OSError as exc:
        raise WorkspaceError(f"cannot read {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise WorkspaceError(f"{path.name} is not UTF-8") from exc


def _parse(file: str, text: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    text, position = text.replace("\r\n", "\n"), 0
    while position < len(text):
        if (nothing := _NOTHING.match(text, position)) is not None:
            position = nothing.end()
            continue
        entry = _ENTRY.match(text, position)
        if entry is None:
            raise WorkspaceError(f"{file}:{text.count(chr(10), 0, position) + 1}: must be NAME=value")
        found[entry["name"]] = _value(entry)
        position = entry.end()
    return found


def _value(entry: re.Match[str]) -> str:
    if entry["quote"] is None:
        plain = entry["plain"]
        return "" if plain.startswith("#") else re.split(r"\s#", plain, maxsplit=1)[0].strip()
    if entry["quote"] != '"':
        return entry["quoted"]
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), entry["quoted"], flags=re.DOTALL)
