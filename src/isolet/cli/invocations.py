"""`isolet invocations`: calls that were made. `isolet replay` makes one again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from isolet.cli import shown
from isolet.cli.commands import All, Commands, Limit
from isolet.cli.output import Cell, paged
from isolet.cli.session import Session
from isolet.cli.times import moment

if TYPE_CHECKING:
    from isolet.contract.invocations import InvocationReply

_HELP = """Calls that were made.

\b
isolet invocations --status failed
isolet invocations hello --since 1h
isolet invocations get ID
"""

app = Commands(_HELP, default="list")

Call = Annotated[str, typer.Argument(metavar="ID", help="The call.", show_default=False)]
Since = Annotated[str | None, typer.Option(help="10m, 2h, 3d, or a time such as 2026-01-31T12:00:00Z.")]

COLUMNS: dict[str, Cell] = {
    "ID": "id",
    "FUNCTION": "function_name",
    "KIND": "kind",
    "STATUS": "status",
    "CODE": "status_code",
    "METHOD": "method",
    "PATH": "path",
    "MS": "duration_ms",
    "AT": lambda one: one.started_at or one.created_at,
    "ERROR": "error",
}


@app.of_server("list")
def list_calls(
    session: Session,
    name: Annotated[str | None, typer.Argument(help="A function, else all of the project.", show_default=False)] = None,
    status: Annotated[str | None, typer.Option(help="succeeded, failed, queued, running, cancelled, 4xx …")] = None,
    kind: Annotated[str | None, typer.Option(help="sync, async, cron, websocket or flow.")] = None,
    grep: Annotated[str | None, typer.Option(help="This text in path or error.")] = None,
    since: Since = None,
    until: Since = None,
    limit: Limit = 50,
    all_: All = False,
) -> None:
    """List calls, newest first. It runs when no other command is named.

    \b
    isolet invocations
    isolet invocations hello --status failed --since 1d
    """
    calls, project = session.client.invocations, session.project
    from_, to = moment("--since", since), moment("--until", until)
    found = paged(
        lambda size, cursor: calls.list(
            project=project,
            function=name,
            status=status,
            kind=kind,
            q=grep,
            since=from_,
            until=to,
            limit=size,
            cursor=cursor,
        ),
        None if all_ else limit,
    )
    session.output.items(found, COLUMNS)


@app.of_server("get")
def get(session: Session, call: Call) -> None:
    """Show a call with its request, its reply and what it printed."""
    show(session, session.client.invocations.get(call))


@app.of_server("cancel")
def cancel(session: Session, call: Call) -> None:
    """Cancel an asynchronous call."""
    show(session, session.client.invocations.cancel(call))


@app.of_server("redeliver")
def redeliver(session: Session, call: Call) -> None:
    """Send the callback of an asynchronous call again."""
    show(session, session.client.invocations.redeliver(call))


def show(session: Session, call: InvocationReply) -> None:
    """The record of a call, for people in the order in which it happened."""
    if session.output.as_json:
        session.output.value(call.to_json())
        return
    summary = {name: value for name, value in call.to_json().items() if not isinstance(value, dict | list)}
    summary.pop("stack", None)
    session.output.item(call, rows=summary)
    if call.request is not None:
        _block(session, "request", call.request.body, call.request.encoding)
    for line in call.console:
        session.output.line(f"{line.level}\t{shown.lines(line.message)}".replace("\n", "\n    "))
    if call.stack:
        _block(session, "stack", call.stack, "text")
    if call.response is not None:
        _block(session, "reply", call.response.body, call.response.encoding)


def _block(session: Session, name: str, text: str, encoding: str) -> None:
    if text:
        kind = " (base64)" if encoding == "base64" else ""
        session.output.line(f"{name}{kind}:\n    " + shown.lines(text).replace("\n", "\n    "))
