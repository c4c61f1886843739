"""Questions to who sits at the terminal. Without one nothing is asked."""

from __future__ import annotations

import sys

import typer

from isolet.cli import shown


def confirm(question: str, *, yes: bool) -> None:
    """Go on only after a yes, where there is somebody to ask. Raises typer's Abort."""
    if not yes and sys.stdin.isatty() and sys.stdout.isatty():
        typer.confirm(shown.line(question), abort=True)
