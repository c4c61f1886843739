"""`isolet logs`: what functions printed in their latest calls, and what they print now."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from msgspec import Struct

from isolet.cli import log_lines
from isolet.cli.commands import Commands
from isolet.cli.output import paged
from isolet.cli.session import Session
from isolet.cli.times import moment

if TYPE_CHECKING:
    from isolet.contract.invocations import ConsoleLineReply
    from isolet.contract.logs import LogEvent, LogLine

app = Commands()

# How often a server that went away is looked for, and for how long.
_AGAIN_S = 1.0
_TRIES = 120

Level = Literal["debug", "info", "warn", "error"]


@app.of_server()
def logs(
    session: Session,
    name: Annotated[str | None, typer.Argument(help="A function, else all of the project.", show_default=False)] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show what is printed from now on.")] = False,
    level: Annotated[Level | None, typer.Option(help="Lines of this level.", show_default=False)] = None,
    since: Annotated[
        str | None, typer.Option(help="Of calls since then: 10m, 2h, 3d, or 2026-01-31T12:00:00Z.")
    ] = None,
    grep: Annotated[str | None, typer.Option(help="Lines that hold this text, in any case.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Of so many latest calls.")] = 20,
) -> None:
    """Show what functions print.

    \b
    isolet logs                           of the latest calls in the project
    isolet logs hello --follow            of one function, as it happens
    isolet logs --level error --since 1h  what went wrong in the last hour
    """
    function = None if name is None else session.function(name)
    wanted = _Wanted(
        session=session,
        function_id=None if function is None else function.id,
        level=level,
        text=grep,
    )
    past: list[LogLine] = []
    if not follow or since is not None:
        past = sorted(wanted.past(moment("--since", since), limit), key=lambda line: line.at)
    if not follow and session.output.as_json:
        session.output.items(past, {})
        return
    for line in past:
        _show(session, line)
    if follow:
        wanted.live()


class _Wanted(Struct, frozen=True, kw_only=True):
    session: Session
    function_id: str | None
    level: str | None
    text: str | None

    def past(self, since: str | None, limit: int) -> Iterator[LogLine]:
        """Of calls that have ended, and outside of calls where there is one function."""
        client = self.session.client
        if self.function_id is not None:
            function = client.functions.get(self.function_id)
            named = {"function_id": function.id, "function_name": function.name, "invocation_id": None}
            yield from self._lines(client.logs.list_own_lines(self.function_id).data, named)
        project = self.session.project
        calls = paged(
            lambda size, cursor: client.invocations.list(
                project=project, function=self.function_id, since=since, limit=size, cursor=cursor
            ),
            limit,
        )
        for call in calls:
            named = {"function_id": call.function_id, "function_name": call.function_name, "invocation_id": call.id}
            yield from self._lines(client.invocations.get(call.id).console, named)

    def _lines(self, printed: Iterable[ConsoleLineReply], named: dict[str, Any]) -> Iterator[LogLine]:
        from isolet.contract.logs import LogLine

        for line in printed:
            level = "info" if line.level == "log" else line.level
            if self.level in (None, level) and (self.text or "").lower() in line.message.lower():
                yield LogLine(**{**line.to_json(), "level": level, **named})

    def live(self) -> None:
        """Until an interrupt. A stream that ends is followed on, where it was, once the server is back."""
        from isolet.client.errors import ServerFailed, Unreachable

        after: str | None = None
        tries = _TRIES
        while True:
            try:
                with self._stream(after) as events:
                    tries = 0
                    for event in events:
                        after = event.id or after
                        _show(self.session, event.data)
            except (Unreachable, ServerFailed):
                # Also the first time, when nothing was followed yet.
                if tries >= _TRIES:
                    raise
            tries += 1
            time.sleep(_AGAIN_S)

    def _stream(self, after: str | None) -> AbstractContextManager[Iterator[LogEvent]]:
        return self.session.client.logs.follow(
            project=self.session.project, function=self.function_id, level=self.level, q=self.text, after=after
        )


def _show(session: Session, data: Any) -> None:
    colour = session.output.has_colour
    session.output.event(data.to_json(), log_lines.text(data, colour=colour))
