"""Reads what workerd writes to standard error about a module that does not load."""

from __future__ import annotations

import re
from itertools import islice

from isolet.domain.source_lines import authored_file, authored_place
from isolet.domain.versions import line_at
from isolet.errors import BuildFailed

_UNCAUGHT = re.compile(r"^service function: (?:Uncaught )?(?P<message>.+)$", re.MULTILINE)
_PLACE = re.compile(r"\bfunction\.js:(?P<line>\d{1,9}):(?P<column>\d{1,9})")
_IN_NAME = re.compile(r"[\w$#]")
_MESSAGE_MAX_CHARS = 2_000
# All that the runtime says of what is thrown and is no error.
_OBJECT = re.compile(r"Error: (?:#<[^<>]*>|\[object \w+\])")
_OBJECT_TEXT = "The module threw an object that is no error as it loaded; of an Error the message would be told here"
_PLACES_MAX = 50


def load_failure(stderr_tail: str, module: str, code: str | None = None) -> BuildFailed | None:
    """Why the module did not load; None when the complaint is not about the module.

    The place is one in `code`, the author's text, where the module was compiled from it.
    """
    found = _UNCAUGHT.search(stderr_tail)
    if found is None:
        return None
    message = found["message"][:_MESSAGE_MAX_CHARS]
    if _OBJECT.fullmatch(message):
        return BuildFailed(_OBJECT_TEXT)
    place, file = _first_place(stderr_tail, module)
    if file is not None and place is not None:
        return BuildFailed(message, line=place[0], column=place[1], file=file)
    if place is None or place[0] < 1:
        return BuildFailed(message)
    line, column = place
    last, text = line_at(module if code is None else code, line)
    if last < line:
        return BuildFailed(message)
    if message.startswith("SyntaxError") and not _begins_a_name(text, column):
        # Where V8 does not understand the text itself, workerd counts columns from 0. A syntax error that was thrown
        # has the place of a name: of what was called, or `new`.
        column += 1
    return BuildFailed(message, line=line, column=column, text=text[:200])


def _first_place(stderr_tail: str, module: str) -> tuple[tuple[int, int] | None, str | None]:
    """The first that is the author's, with its file where there are several: the compiler's own may stand above it."""
    for told in islice(_PLACE.finditer(stderr_tail), _PLACES_MAX):
        line, column = int(told["line"]), int(told["column"])
        if (place := authored_place(module, line, column)) is not None:
            return place, authored_file(module, line, column)
    return None, None


def _begins_a_name(text: str, column: int) -> bool:
    """Whether a name begins there; `column` counts from 1."""
    here, before = text[column - 1 : column], text[max(column - 2, 0) : column - 1]
    return bool(_IN_NAME.match(here)) and not _IN_NAME.match(before)
