"""Paths are split as they were sent, and decoded part by part: an encoded slash belongs to its part."""

from __future__ import annotations

import re
from urllib.parse import unquote

from isolet.api.asgi import Scope

# Stands for an encoded slash while a decoded path is matched: no path that is decoded has it.
_MARK = "\udc2f"
_ENCODED = re.compile(rb"%2f", re.IGNORECASE)


def mark_slashes(scope: Scope) -> None:
    """For a framework that matches the decoded path: what was encoded there does not part it."""
    raw: bytes = scope["raw_path"]
    if _ENCODED.search(raw) is not None:
        scope["path"] = _MARK.join(unquote(part.decode("latin-1")) for part in _ENCODED.split(raw))


def unmarked(text: str) -> str:
    """A part of such a path as it reads."""
    return text.replace(_MARK, "/")
