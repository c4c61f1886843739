"""Small programs that stand in for the ones that Isolet starts, to fail in ways that the real ones rarely do."""

from __future__ import annotations

import sys
from pathlib import Path


def script(path: Path, source: str) -> Path:
    """An executable Python program; it needs no environment."""
    path.write_text(f"#!{sys.executable} -IS\n{source}")
    path.chmod(0o755)
    return path
