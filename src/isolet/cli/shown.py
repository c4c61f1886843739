"""Text of tenants as a terminal may get it: what is no printable character is written as an escape.

A terminal obeys control characters: it would move the cursor, set the clipboard or answer as if its user had typed.
Characters that turn the direction of text around, or that nobody sees, make one name look like another.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

# Joins or separates letters, as Persian and Hindi need it.
_JOINERS = "\u200c\u200d"


def line(text: str) -> str:
    """On one line."""
    return text if text.isprintable() else "".join(char if _is_shown(char) else _escaped(char) for char in text)


def lines(text: str) -> str:
    """With its line breaks and tabs."""
    return "\n".join("\t".join(line(part) for part in one.split("\t")) for one in text.split("\n"))


def as_json(value: Any, indent: int | None = None) -> str:
    """In ASCII, with nothing in it that a terminal obeys."""
    return json.dumps(value, indent=indent).replace("\x7f", "\\u007f")


def _is_shown(char: str) -> bool:
    return char.isprintable() or char in _JOINERS or unicodedata.category(char) == "Zs"


def _escaped(char: str) -> str:
    return json.dumps(char)[1:-1] if char != "\x7f" else "\\u007f"
