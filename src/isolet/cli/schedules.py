"""`isolet schedules`: functions that run by the clock."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from isolet.cli.commands import All, Commands, Limit, OfFunction
from isolet.cli.failures import Usage
from isolet.cli.output import Cell, paged
from isolet.cli.session import Session

_HELP = """Functions that run by the clock.

\b
isolet schedules list
isolet schedules next '0 9 * * 1-5' --tz Europe/Berlin
isolet schedules create '*/5 * * * *' --function report
isolet schedules run ID
"""

app = Commands(_HELP)

Id = Annotated[str, typer.Argument(metavar="ID", help="The schedule.", show_default=False)]
Zone = Annotated[str | None, typer.Option("--tz", help="The time zone, such as Europe/Berlin; UTC without.")]
Dialect = Annotated[str | None, typer.Option(help="standard, or cloudflare for Cloudflare's numbers of weekdays.")]

_COLUMNS: dict[str, Cell] = {
    "ID": "id",
    "NAME": "name",
    "CRON": "cron",
    "ZONE": "timezone",
    "ON": "enabled",
    "NEXT": "next_at",
    "LAST": "last_due_at",
    "STATUS": "last_status",
}
_FIRINGS: dict[str, Cell] = {
    "DUE": "due_at",
    "FIRED": "fired_at",
    "STATUS": "status",
    "TRY": "attempt",
    "CALL": lambda one: one.invocation_id or one.execution_id,
}


@app.of_server("list")
def list_schedules(
    session: Session,
    function: Annotated[str | None, typer.Option(metavar="NAME", help="Of this function.")] = None,
    limit: Limit = 50,
    all_: All = False,
) -> None:
    """List schedules, and when they run next."""
    schedules, project = session.client.schedules, session.project
    found = paged(
        lambda size, cursor: schedules.list(project=project, function=function, limit=size, cursor=cursor),
        None if all_ else limit,
    )
    session.output.items(found, _COLUMNS)


@app.of_server("next")
def next_times(
    session: Session,
    expression: Annotated[str, typer.Argument(metavar="EXPR", help="The cron expression.", show_default=False)],
    tz: Zone = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=100, help="How many.")] = 5,
    dialect: Dialect = None,
) -> None:
    """Say what an expression means and when it is due next.

    \b
    isolet schedules next '0 9 * * 1-5' --tz Europe/Berlin
    """
    from isolet.contract.schedules import SchedulePreview

    given = _given(timezone=tz, dialect=dialect)
    found = session.client.schedules.preview(SchedulePreview(cron=expression, count=count, **given))
    session.output.done(found.to_json(), "\n".join([found.text, *found.times]))


@app.of_server("create")
def create(
    session: Session,
    expression: Annotated[str, typer.Argument(metavar="EXPR", help="The cron expression.", show_default=False)],
    function: OfFunction,
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    tz: Zone = None,
    dialect: Dialect = None,
    payload: Annotated[str | None, typer.Option(metavar="JSON", help="What the function gets.")] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="overlap, missed, jitter_s, retries … of the guide of schedules."),
    ] = None,
) -> None:
    """Run a function by the clock.

    \b
    isolet schedules create '*/5 * * * *' --function report --policy overlap=skip
    """
    from isolet.contract.schedules import ScheduleMembers

    members = _given(name=name, timezone=tz, dialect=dialect)
    if payload is not None:
        members["payload"] = _json("--payload", payload)
    members.update(_policy(text) for text in policy or [])
    found = session.function(function)
    made = session.client.schedules.create(found.id, ScheduleMembers({"cron": expression, **members}))
    session.output.done(made.to_json(), f"{made.id} runs {found.name} next at {made.next_at}.")


@app.of_server("get")
def get(session: Session, schedule: Id) -> None:
    """Show a schedule."""
    session.output.item(session.client.schedules.get(schedule))


@app.of_server("delete")
def delete(session: Session, schedule: Id) -> None:
    """Delete a schedule."""
    session.client.schedules.delete(schedule)
    session.output.done({"id": schedule, "deleted": True}, f"Deleted {schedule}.")


@app.of_server("run")
def run(session: Session, schedule: Id) -> None:
    """Run it now, outside the count."""
    done = session.client.schedules.run(schedule)
    session.output.done(done.to_json(), done.invocation_id or done.execution_id or "Skipped: it runs already.")


@app.of_server("pause")
def pause(session: Session, schedule: Id, reason: Annotated[str | None, typer.Option(help="Why.")] = None) -> None:
    """Stop it until it is resumed."""
    from isolet.contract.schedules import SchedulePause

    done = session.client.schedules.pause(schedule, SchedulePause(**_given(reason=reason)))
    session.output.done(done.to_json(), f"{done.name} is paused. isolet schedules resume {done.id}")


@app.of_server("resume")
def resume(session: Session, schedule: Id) -> None:
    """Let a paused one run again."""
    done = session.client.schedules.resume(schedule)
    session.output.done(done.to_json(), f"{done.name} runs next at {done.next_at}.")


@app.of_server("firings")
def firings(session: Session, schedule: Id, limit: Limit = 50, all_: All = False) -> None:
    """List when it ran, newest first."""
    schedules = session.client.schedules
    found = paged(
        lambda size, cursor: schedules.list_firings(schedule, limit=size, cursor=cursor), None if all_ else limit
    )
    session.output.items(found, _FIRINGS)


@app.of_server("backfill")
def backfill(
    session: Session,
    schedule: Id,
    from_: Annotated[str, typer.Option("--from", help="The first moment, in ISO 8601.", show_default=False)],
    to: Annotated[str, typer.Option("--to", help="The last moment.", show_default=False)],
) -> None:
    """Run every due time between two moments."""
    from isolet.contract.schedules import ScheduleBackfill

    done = session.client.schedules.backfill(schedule, ScheduleBackfill.model_validate({"from": from_, "to": to}))
    session.output.done(done.to_json(), f"{done.count} runs are queued.")


def _given(**members: Any) -> dict[str, Any]:
    """What is not given is not sent."""
    return {name: value for name, value in members.items() if value is not None}


def _policy(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign:
        raise Usage(f"--policy is NAME=VALUE, not {text!r}")
    return name, int(value) if value.isascii() and value.isdigit() else value


def _json(option: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise Usage(f"{option} is no JSON: {exc}") from None
