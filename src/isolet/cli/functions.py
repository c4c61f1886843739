"""`isolet functions`: what there is, which version is live, and how it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolet.cli.commands import All, Commands, Function, Limit
from isolet.cli.output import Cell, paged
from isolet.cli.session import Session

if TYPE_CHECKING:
    pass

app = Commands("Functions and their versions.")

_COLUMNS: dict[str, Cell] = {
    "NAME": lambda one: one.name,
    "SLUG": lambda one: one.slug,
    "STATUS": lambda one: one.status,
    "VERSION": lambda one: one.version,
    "ACCESS": lambda one: one.access,
    "DEPLOYED": lambda one: one.last_deployed_at,
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
