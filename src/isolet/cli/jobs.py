"""`isolet jobs`: asynchronous calls, and the callbacks that tell of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from isolet.cli.commands import All, Commands, Limit
from isolet.cli.invocations import COLUMNS, Call, Since, show
from isolet.cli.output import Cell, paged
from isolet.cli.session import Session
from isolet.cli.times import moment

if TYPE_CHECKING:
    from isolet.contract.invocations import InvocationSummaryReply

_HELP = """Asynchronous calls and their callbacks.

\b
isolet jobs list --status queued
isolet jobs cancel ID
isolet jobs redeliver --since 1d
"""

app = Commands(_HELP)

_DELIVERIES: dict[str, Cell] = {
    "ID": "id",
    "CALL": "invocation_id",
    "STATUS": "status",
    "TRIES": lambda one: len(one.attempts),
    "NEXT": "next_attempt_at",
    "URL": "url",
    "ERROR": "error",
}
Name = Annotated[str | None, typer.Option("--function", metavar="NAME", help="Of this function.", show_default=False)]


@app.of_server("list")
def list_jobs(
    session: Session,
    function: Name = None,
    status: Annotated[str | None, typer.Option(help="queued, running, succeeded, failed or cancelled.")] = None,
    limit: Limit = 50,
    all_: All = False,
) -> None:
    """List asynchronous calls, newest first."""
    calls, project = session.client.invocations, session.project

    def of(state: str | None) -> Iterator[InvocationSummaryReply]:
        return paged(
            lambda size, cursor: calls.list(
                project=project, function=function, status=state, kind="async", limit=size, cursor=cursor
            ),
            None if all_ else limit,
        )

    # A list without a status is that of calls which have run.
    states = ("queued", "running", None) if status is None else (status,)
    found = itertools.islice(_once(itertools.chain.from_iterable(map(of, states))), None if all_ else limit)
    session.output.items(found, COLUMNS)


def _once(calls: Iterable[InvocationSummaryReply]) -> Iterator[InvocationSummaryReply]:
    """Without those that went from one list to another meanwhile."""
    waiting: set[str] = set()
    for call in calls:
        if call.id not in waiting:
            yield call
        if call.status in ("queued", "running"):
            waiting.add(call.id)


@app.of_server("get")
def get(session: Session, call: Call) -> None:
    """Show the state of a call, its tries and its callback."""
    show(session, session.client.invocations.get(call))


@app.of_server("cancel")
def cancel(session: Session, call: Call) -> None:
    """Cancel a call that has not ended."""
    show(session, session.client.invocations.cancel(call))


@app.of_server("deliveries")
def deliveries(
    session: Session,
    function: Name = None,
    status: Annotated[str | None, typer.Option(help="queued, running, succeeded or failed.")] = None,
    since: Since = None,
    limit: Limit = 50,
    all_: All = False,
) -> None:
    """List callbacks, newest first."""
    found = paged(
        lambda size, cursor: session.client.deliveries.list(
            status=status, function=function, since=moment("--since", since), limit=size, cursor=cursor
        ),
        None if all_ else limit,
    )
    session.output.items(found, _DELIVERIES)


@app.of_server("redeliver")
def redeliver(
    session: Session,
    function: Name = None,
    host: Annotated[str | None, typer.Option(help="To this host.")] = None,
    since: Since = None,
    until: Since = None,
) -> None:
    """Send failed callbacks again, all or those that the options say."""
    from isolet.contract.deliveries import DeliveryFilter

    wanted = DeliveryFilter(
        function=function, host=host, since=moment("--since", since), until=moment("--until", until)
    )
    done = session.client.deliveries.redeliver(wanted)
    session.output.done(done.to_json(), f"{done.redelivered} callbacks are sent again.")
