"""`isolet doctor`: whether this machine can run a server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from msgspec.structs import asdict

from isolet.cli.commands import Commands
from isolet.cli.failures import ExitCode
from isolet.cli.output import Cell
from isolet.cli.session import Session

app = Commands()

_COLUMNS: dict[str, Cell] = {
    "CHECK": "name",
    "RESULT": "result",
    "WHAT": "text",
}


@app.local()
def doctor(
    session: Session,
    data_dir: Annotated[
        Path, typer.Option("--data-dir", envvar="ISOLET_DATA_DIR", help="The data directory of the server.")
    ] = Path(".isolet"),
    port: Annotated[
        int, typer.Option("--port", envvar="ISOLET_PORT", min=0, max=65535, help="The server's port.")
    ] = 7878,
) -> None:
    """Check whether this machine can run a server: programs, sandbox, ports, permissions, clock and disk.

    It changes nothing. A failed check, which would keep a server from starting, exits with 1; a warning does not.

    \b
    isolet doctor --data-dir /var/lib/isolet --port 7878
    """
    from isolet.cli.checks import Result, run

    found = run(os.environ, data_dir, port)
    if session.output.as_json:
        session.output.value([asdict(one) for one in found])
    else:
        session.output.items(found, _COLUMNS)
    if any(one.result is Result.FAILED for one in found):
        raise typer.Exit(ExitCode.FAILED)
