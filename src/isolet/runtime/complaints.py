"""Reads what workerd writes to standard error about a module that does not load."""

from __future__ import annotations

import re

from isolet.domain.versions import lines_of
from isolet.errors import BuildFailed

_UNCAUGHT = re.compile(r"^service function: (?:Uncaught )?(?P<message>.+)$", re.MULTILINE)
_PLACE = re.compile(r"\bfunction\.js:(?P<line>\d+):(?P<column>\d+)")
_MESSAGE_MAX_CHARS = 2_000


def load_failure(complaint: str, module: str) -> BuildFailed | None:
    """Why the module did not load; None when the complaint is not about the module."""
    found = _UNCAUGHT.search(complaint)
    if found is None:
        return None
    message = found["message"][:_MESSAGE_MAX_CHARS]
    place = _PLACE.search(complaint)
    lines = lines_of(module)
    if place is None or not 0 < int(place["line"]) <= len(lines):
        return BuildFailed(message)
    line = int(place["line"])
    return BuildFailed(message, line=line, column=int(place["column"]), text=lines[line - 1][:200])
