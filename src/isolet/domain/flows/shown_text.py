"""Texts of a workflow's author in documents of other languages: XML, Mermaid."""

from __future__ import annotations

import re
import unicodedata
from xml.sax.saxutils import escape

# What XML 1.0 cannot have, and what a terminal or a reader could take for something else than text.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_SPACES = re.compile(r"\s+")
_MARKS_MAX = 3


def one_line(text: str) -> str:
    """The text without line breaks; characters that cannot be shown are U+FFFD."""
    return _SPACES.sub(" ", _NO_TEXT.sub("\ufffd", text)).strip()


def shortened(text: str, units: int) -> tuple[str, int]:
    """The text in one line of so many units, with an ellipsis where it ends before its time; and its units.

    A character of a wide script has two units, a mark above another one none.
    """
    kept: list[str] = []
    used = marks = 0
    for character in one_line(text[: 8 * units]):
        width = _units(character)
        marks = marks + 1 if width == 0 else 0
        if marks > _MARKS_MAX:
            continue
        if used + width > units - 1:
            return "".join(kept).rstrip() + "…", used + 1
        kept.append(character)
        used += width
    return "".join(kept), used


def _units(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def attribute(name: str, value: str) -> str:
    """`name="value"` of an XML element."""
    quoted = escape(one_line(value), {'"': "&quot;"})
    return f'{name}="{quoted}"'


def element(name: str, text: str, **attributes: object) -> str:
    """An XML element with text. `_` in the names of attributes stands for `-`."""
    written = "".join(f" {attribute(key.replace('_', '-'), str(value))}" for key, value in attributes.items())
    return f"<{name}{written}>{escape(one_line(text))}</{name}>"


def mermaid_text(text: str, units: int = 200) -> str:
    """A quoted text of a Mermaid document: all but letters, digits and plain punctuation is written as numbers."""
    short, _ = shortened(text, units)
    return '"' + "".join(one if one.isalnum() or one in " _-.,:/?!()·…" else f"#{ord(one)};" for one in short) + '"'
