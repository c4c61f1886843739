"""`isolet replay`: the same call again."""

from __future__ import annotations

import typer

from isolet.cli.commands import Commands
from isolet.cli.failures import ExitCode
from isolet.cli.invocations import Call, show
from isolet.cli.progress import waiting
from isolet.cli.session import Session

app = Commands()


@app.of_server()
def replay(session: Session, call: Call) -> None:
    """Make the same call again: the new one, which has ended unless it is asynchronous.

    \b
    isolet replay 01a22ba2-5c57-7dab-9fd1-0347581d0028
    """
    with waiting("Waiting for the function"):
        new = session.patient.invocations.replay(call)
    show(session, new)
    if new.status == "failed":
        raise typer.Exit(ExitCode.FAILED)
