"""Variables of development: `.dev.vars`, or `.env` files where there is none, as wrangler reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from isolet.workspace.errors import WorkspaceError

_LINE = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*?)\s*")
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
    found = {}
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        line, first = lines[number], number + 1
        number += 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        matched = _LINE.fullmatch(line)
        if matched is None:
            raise WorkspaceError(f"{file}:{first}: must be NAME=value")
        value = matched["value"]
        # What is quoted may go over several lines.
        while value[:1] in ("'", '"', "`") and not _ends(value) and number < len(lines):
            value += "\n" + lines[number]
            number += 1
        found[matched["name"]] = _value(value)
    return found


def _ends(value: str) -> bool:
    return re.match(rf"{value[0]}(?:\\.|[^\\])*?{value[0]}", value[0:], re.DOTALL) is not None


def _value(text: str) -> str:
    quote = text[:1]
    if quote in ("'", '"', "`"):
        closed = re.match(rf"{quote}((?:\\.|[^\\])*?){quote}", text, re.DOTALL)
        if closed is None:
            return text
        if quote != '"':
            return closed[1]
        return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), closed[1])
    return re.split(r"\s+#", text, maxsplit=1)[0].strip() if not text.startswith("#") else ""
