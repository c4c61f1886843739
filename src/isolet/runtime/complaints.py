"""Reads what workerd writes to standard error about a module that does not load."""

from __future__ import annotations

import re

from isolet.domain.source_lines import authored_place
from isolet.domain.versions import lines_of
from isolet.errors import BuildFailed

_UNCAUGHT = re.compile(r"^service function: (?:Uncaught )?(?P<message>.+)$", re.MULTILINE)
_PLACE = re.compile(r"\bfunction\.js:(?P<line>\d+):(?P<column>\d+)")
_MESSAGE_MAX_CHARS = 2_000


def load_failure(complaint: str, module: str, code: str | None = None) -> BuildFailed | None:
    """Why the module did not load; None when the complaint is not about the module.

    The place is one in `code`, the author's text, where the module was compiled from it.
    """
    found = _UNCAUGHT.search(complaint)
    if found is None:
        return None
    message = found["message"][:_MESSAGE_MAX_CHARS]
    told = _PLACE.search(complaint)
    place = authored_place(module, int(told["line"]), int(told["column"])) if told is not None else None
    lines = lines_of(module if code is None else code)
    if place is None or not 0 < place[0] <= len(lines):
        return BuildFailed(message)
    line, column = place
    return BuildFailed(message, line=line, column=column, text=lines[line - 1][:200])
