"""`isolet functions`: what there is, which version is live, and how it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from isolet.cli import asking
from isolet.cli.commands import All, Commands, Function, Limit, Yes
from isolet.cli.failures import Usage
from isolet.cli.output import Cell, paged
from isolet.cli.session import Session

if TYPE_CHECKING:
    from isolet.contract.functions import FunctionReply

_HELP = """Functions and their versions.

\b
isolet functions list
isolet functions get hello --json
isolet functions rollback hello
isolet functions metrics hello --window 7d
"""

app = Commands(_HELP)

_COLUMNS: dict[str, Cell] = {
    "NAME": "name",
    "SLUG": "slug",
    "STATUS": "status",
    "VERSION": "version",
    "ACCESS": "access",
    "DEPLOYED": "last_deployed_at",
}
_VERSIONS: dict[str, Cell] = {
    "VERSION": "version",
    "LIVE": "live",
    "LANGUAGE": "language",
    "CREATED": "created_at",
}


@app.of_server("list")
def list_functions(session: Session, limit: Limit = 50, all_: All = False) -> None:
    """List the functions of a project."""
    functions, project = session.client.functions, session.project
    found = paged(
        lambda size, cursor: functions.list(project=project, limit=size, cursor=cursor), None if all_ else limit
    )
    session.output.items(found, _COLUMNS)


@app.of_server("get")
def get(session: Session, name: Function) -> None:
    """Show a function."""
    session.output.item(session.function(name))


@app.of_server("delete")
def delete(session: Session, name: Function, yes: Yes = False) -> None:
    """Delete a function with its versions, secrets and schedules."""
    function = session.function(name)
    asking.confirm(f"Delete the function {function.name}?", yes=yes)
    session.client.functions.delete(function.id)
    session.output.done({"id": function.id, "deleted": True}, f"Deleted {function.name}.")


@app.of_server("versions")
def versions(session: Session, name: Function, limit: Limit = 50, all_: All = False) -> None:
    """List the versions of a function, newest first."""
    functions, function = session.client.functions, session.function(name)
    found = paged(
        lambda size, cursor: functions.list_versions(function.id, limit=size, cursor=cursor), None if all_ else limit
    )
    session.output.items(found, _VERSIONS)


@app.of_server("rollback")
def rollback(
    session: Session,
    name: Function,
    version: Annotated[
        int | None, typer.Argument(min=1, help="The version, else the one before the live one.", show_default=False)
    ] = None,
    yes: Yes = False,
) -> None:
    """Make an earlier version the live one again.

    \b
    isolet functions rollback hello      the version before the live one
    isolet functions rollback hello 3
    """
    from isolet.contract.functions import Rollback

    function = session.function(name)
    if version is None:
        version = _before(session, function)
    asking.confirm(f"Roll {function.name} back from version {function.version} to {version}?", yes=yes)
    changed = session.client.functions.roll_back(function.id, Rollback(version=version))
    session.output.done(changed.to_json(), f"{changed.name} is at version {changed.version} now.")


def _before(session: Session, function: FunctionReply) -> int:
    found = session.client.functions.list_versions(function.id, limit=50).data
    earlier = [one.version for one in found if function.version is not None and one.version < function.version]
    if not earlier:
        raise Usage(f"{function.name} has no version before the live one. isolet functions versions shows all")
    return max(earlier)


@app.of_server("metrics")
def metrics(
    session: Session,
    name: Function,
    window: Annotated[str, typer.Option(help="The time to look back: 1h, 24h, 7d or 30d.")] = "24h",
) -> None:
    """Show figures of a function's calls."""
    function = session.function(name)
    found = session.client.usage.of_function(function.id, window=window)
    session.output.item(
        found,
        rows={
            "function": function.name,
            "calls": found.total,
            "errors": f"{found.errors} ({found.error_rate:g} %)",
            "duration, average": _ms(found.duration_ms.average),
            "duration, p50": _ms(found.duration_ms.p50),
            "duration, p95": _ms(found.duration_ms.p95),
            "duration, p99": _ms(found.duration_ms.p99),
            "cold starts": found.cold_starts,
            "cold start, average": _ms(found.cold_start_ms.average),
            "memory, most": f"{found.memory_mb.max:g} MiB",
            "last call": found.last_invocation_at,
        },
    )


def _ms(value: float | None) -> str | None:
    return None if value is None else f"{value:g} ms"
