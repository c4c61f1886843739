"""Packages of npm as a client sends them along: the files that the project's own lock installed."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

_INSTALLED = Path(__file__).parents[2] / "node_modules"
_CODE = (".js", ".mjs", ".wasm", "package.json")
# Twins of the same modules, in the older format or with the WebAssembly as text.
_LEFT_OUT = ("/cjs/", ".inline.js")


def packed(*packages: str) -> dict[str, Any]:
    """The members of `files` for these packages: text, or base64 for what is not."""
    files: dict[str, Any] = {}
    for package in packages:
        for place in sorted((_INSTALLED / package).rglob("*")):
            path = place.relative_to(_INSTALLED).as_posix()
            if place.is_file() and path.endswith(_CODE) and not any(part in path for part in _LEFT_OUT):
                body = place.read_bytes()
                encoded = {"base64": base64.b64encode(body).decode()}
                files[f"node_modules/{path}"] = encoded if path.endswith(".wasm") else body.decode()
    return files
