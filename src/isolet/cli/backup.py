"""`isolet backup`: all that a running server keeps, in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isolet.cli.commands import Commands
from isolet.cli.session import Session

app = Commands()


@app.of_server()
def backup(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file that is written.", show_default=False)],
) -> None:
    """Write all that a running server keeps to a file, but the master key. It takes the root key.

    Keep the master key elsewhere: the secrets in the file cannot be read without it. What is in the file can be read by
    you only.

    \b
    isolet backup isolet-$(date +%F).backup
    """
    from isolet.cli.server_archive import write

    told = write(session, file)
    session.output.done(told, f"Wrote {told['projects']} projects, {told['size_bytes']} bytes, to {file}.")
