"""`isolet realtime`: messages of channels."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from isolet.cli.commands import Commands
from isolet.cli.failures import Usage
from isolet.cli.output import Cell
from isolet.cli.session import Session

_HELP = """Messages of channels.

\b
isolet realtime tail room
isolet realtime publish room said '{"text": "hello"}'
"""

app = Commands(_HELP)

Channel = Annotated[str, typer.Argument(help="The channel.", show_default=False)]

_COLUMNS: dict[str, Cell] = {
    "CHANNEL": "name",
    "SUBSCRIBERS": "subscribers",
    "SEQ": "seq",
}


@app.of_server("list")
def list_channels(session: Session) -> None:
    """List channels with their subscribers."""
    session.output.items(session.client.realtime.get(session.project).channels, _COLUMNS)


@app.of_server("publish")
def publish(
    session: Session,
    channel: Channel,
    event: Annotated[str, typer.Argument(help="The event.", show_default=False)],
    data: Annotated[str | None, typer.Argument(metavar="JSON", help="Its data.", show_default=False)] = None,
) -> None:
    """Send a message to all who subscribe.

    \b
    isolet realtime publish room said '{"text": "hello"}'
    """
    from isolet.contract.realtime import Publication

    try:
        parsed = None if data is None else json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise Usage(f"the data is no JSON: {exc}") from None
    done = session.client.realtime.publish(session.project, Publication(channel=channel, event=event, data=parsed))
    session.output.done(done.to_json(), f"Message {done.seq} of {channel}.")


@app.of_server("tail")
def tail(
    session: Session,
    channel: Channel,
    since: Annotated[int | None, typer.Option(help="Messages after this number first.", show_default=False)] = None,
) -> None:
    """Print messages as they come."""
    from isolet.cli.channel import messages

    for message in messages(session, channel, since):
        data = message.get("data")
        session.output.event(message, _line(message.get("seq"), message.get("event"), data))


def _line(seq: object, event: object, data: object) -> str:
    from isolet.cli import shown

    return f"{seq}\t{shown.line(str(event))}\t{shown.as_json(data)}"
