"""Reads esbuild's complaints."""

from __future__ import annotations

import re

from isolet.domain.versions import line_at
from isolet.errors import BuildFailed

_MESSAGE = re.compile(r"\[ERROR\] (?P<message>.*)")
_PLACE = re.compile(r"^[^\S\n]++function\.\w+:(?P<line>\d+):(?P<column>\d+):$", re.MULTILINE)
_TEXT_MAX_CHARS = 200


def read_diagnostic(stderr_tail: str, code: str) -> BuildFailed:
    """The first error in esbuild's output, its line and column counted from 1 in characters of `code`."""
    found = _MESSAGE.search(stderr_tail)
    message = found["message"].strip() if found else "the code does not compile"
    place = _PLACE.search(stderr_tail)
    if place is None:
        return BuildFailed(message)
    # An error at the very end may point past the author's last line, into the export that was added.
    line, text = line_at(code, int(place["line"]))
    if int(place["line"]) > line:
        column = len(text) + 1
    else:
        column = len(text.encode()[: int(place["column"])].decode(errors="ignore")) + 1
    return BuildFailed(f"SyntaxError: {message}", line=line, column=column, text=text[:_TEXT_MAX_CHARS])
