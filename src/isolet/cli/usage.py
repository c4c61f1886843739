"""`isolet usage`: what projects use in a month."""

from __future__ import annotations

from typing import Annotated

import typer

from isolet.cli.commands import Commands
from isolet.cli.output import Cell
from isolet.cli.session import Session

app = Commands()

_COLUMNS: dict[str, Cell] = {
    "PROJECT": "project",
    "MONTH": "month",
    "CALLS": "invocations",
    "ERRORS": "errors",
    "GB SECONDS": "gb_seconds",
    "EGRESS BYTES": "egress_bytes",
    "STORAGE BYTES": "storage_bytes",
}


@app.of_server()
def usage(
    session: Session,
    month: Annotated[str | None, typer.Option(help="Such as 2026-01, else this one.", show_default=False)] = None,
) -> None:
    """Show what the projects that the key sees use; with --project one of them.

    \b
    isolet usage --month 2026-01
    """
    found = session.client.usage.list(project=session.target.project, month=month)
    session.output.items(found.data, _COLUMNS)
