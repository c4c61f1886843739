"""Templates in the settings of nodes: `${ENV:NAME}`, `{{vars.path}}`, `{{system.path}}`, `{{context.path}}`.

A template is a lookup by path. It calls nothing, and what it finds is not read for templates again. `\\{{` and `\\${`
stand for `{{` and `${` themselves. `{{name}}` alone is `{{vars.name}}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct, field

from isolet.errors import InvalidInput

RENDERED_MAX_CHARS = 1_048_576
SPACES = ("vars", "system", "context", "metadata")
_TEMPLATE = re.compile(
    r"(?P<escaped>\\(?:\{\{|\$\{))|\$\{ENV:(?P<env>[A-Za-z_][A-Za-z0-9_]{0,127})\}"
    r"|\{\{\s{0,32}(?P<path>[^{}\s]{1,512})\s{0,32}\}\}"
)
# No template is longer. One search goes no further than a window, since nothing else runs meanwhile.
_LONGEST = 600
_WINDOW = 65_536
_MISSING_KEPT = 100
_MISSING = object()


class Rendering(Struct):
    """Renders values of one step. `missing` collects the templates that point nowhere, in order; the first hundred.

    `spaces` has the members of `SPACES`; `env` the project's variables and secrets by name.
    """

    spaces: Mapping[str, Any]
    env: Mapping[str, str]
    missing: list[str] = field(default_factory=list)
    _left: int = RENDERED_MAX_CHARS

    def value(self, value: Any) -> Any:
        """JSON with its texts rendered; names of members stay. Raises InvalidInput when it becomes too large."""
        if isinstance(value, str):
            return self.lone(value)
        if isinstance(value, Mapping):
            return {name: self.value(member) for name, member in value.items()}
        if isinstance(value, list):
            return [self.value(member) for member in value]
        return value

    def lone(self, text: str) -> Any:
        """Text; but what is one template and nothing else keeps the type of its value, null when there is none."""
        found = _TEMPLATE.fullmatch(text.strip())
        if found is None or found["escaped"]:
            return self.text(text)
        value = self._find(found)
        self._spend(_size_of(value))
        return None if value is _MISSING else value

    def text(self, text: str) -> str:
        """Text with its templates replaced: by nothing where they point nowhere, by JSON for objects and lists."""
        parts: list[str] = []
        end = 0
        for found in _templates_in(text):
            parts += text[end : found.start()], found["escaped"][1:] if found["escaped"] else as_text(self._find(found))
            end = found.end()
            self._spend(len(parts[-1]))
        parts.append(text[end:])
        return "".join(parts)

    def _find(self, found: re.Match[str]) -> Any:
        value = self.env.get(found["env"], _MISSING) if found["env"] else look_up(self.spaces, found["path"])
        if value is _MISSING and len(self.missing) < _MISSING_KEPT:
            self.missing.append(found[0])
        return value

    def _spend(self, chars: int) -> None:
        self._left -= chars
        if self._left < 0:
            raise InvalidInput(f"the templates of this node make more than {RENDERED_MAX_CHARS} characters")


def _templates_in(text: str) -> Iterator[re.Match[str]]:
    start = 0
    while start < len(text):
        end = min(start + _WINDOW, len(text))
        found = _TEMPLATE.search(text, start, end)
        if found is not None:
            yield found
            start = found.end()
        elif end == len(text):
            return
        else:
            start = end - _LONGEST


def _size_of(value: Any) -> int:
    """About how many characters it takes as JSON."""
    if isinstance(value, str):
        return len(value)
    return len(json.dumps(value)) if isinstance(value, Mapping | list) else 1


def escaped(text: str) -> str:
    """Text that is no template, whoever wrote it."""
    return text.replace("{{", "\\{{").replace("${", "\\${")


def look_up(spaces: Mapping[str, Any], path: str) -> Any:
    """What a path such as `vars.order.items.0` leads to; `_MISSING` when it leads nowhere."""
    names = path.split(".")
    if names[0] not in SPACES:
        names = ["vars", *names]
    value: Any = spaces
    for name in names:
        if isinstance(value, Mapping):
            value = value.get(name, _MISSING)
        elif isinstance(value, list) and name.isascii() and name.isdecimal() and len(name) < 10:
            value = value[int(name)] if int(name) < len(value) else _MISSING
        else:
            return _MISSING
    return value


def paths_in(value: Any) -> Iterator[str]:
    """Every path that the templates of a value look up, each with its space, as often as it stands there."""
    if isinstance(value, str):
        for found in _templates_in(value):
            if path := found["path"]:
                yield path if path.split(".", 1)[0] in SPACES[:3] else f"vars.{path}"
    elif isinstance(value, Mapping | list):
        for member in value.values() if isinstance(value, Mapping) else value:
            yield from paths_in(member)


def is_found(value: Any) -> bool:
    """Whether a path led somewhere, for callers of `look_up`."""
    return value is not _MISSING


def as_text(value: Any) -> str:
    """A value within a longer text."""
    if value is _MISSING or value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
