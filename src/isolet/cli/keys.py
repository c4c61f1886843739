"""`isolet keys`: API keys of a project."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from isolet.cli import asking
from isolet.cli.commands import All, Commands, Limit, Yes
from isolet.cli.failures import Usage
from isolet.cli.output import Cell, paged
from isolet.cli.session import Session

_HELP = """API keys of a project.

\b
isolet keys create ci --role deploy
isolet keys list
isolet keys delete ci
"""

app = Commands(_HELP)

Role = Literal["read", "invoke", "deploy", "admin"]

_COLUMNS: dict[str, Cell] = {
    "ID": "id",
    "NAME": "name",
    "ROLE": "role",
    "CREATED": "created_at",
    "EXPIRES": "expires_at",
    "USED": "last_used_at",
}


@app.of_server("list")
def list_keys(session: Session, limit: Limit = 50, all_: All = False) -> None:
    """List keys. The keys themselves are never shown again."""
    keys, project = session.client.keys, session.project
    found = paged(lambda size, cursor: keys.list(project, limit=size, cursor=cursor), None if all_ else limit)
    session.output.items(found, _COLUMNS)


@app.of_server("create")
def create(
    session: Session,
    name: Annotated[str, typer.Argument(help="What it is for.", show_default=False)],
    role: Annotated[Role, typer.Option(help="What it may do.", show_default=False)],
    expires_at: Annotated[
        str | None, typer.Option(help="When it ends, such as 2027-01-31T12:00:00Z.", show_default=False)
    ] = None,
) -> None:
    """Make a key, and print it this once.

    \b
    isolet keys create ci --role deploy
    """
    from isolet.contract.keys import KeyCreate

    # What is None is not sent.
    given = {"name": name, "role": role, **({} if expires_at is None else {"expires_at": expires_at})}
    made = session.client.keys.create(session.project, KeyCreate(**given))
    session.output.done(made.to_json(), made.key)


@app.of_server("delete")
def delete(
    session: Session,
    key: Annotated[str, typer.Argument(metavar="ID", help="The key's id, or its name.", show_default=False)],
    yes: Yes = False,
) -> None:
    """Delete a key: it is refused from now on."""
    keys, project = session.client.keys, session.project
    ids = [
        one.id
        for one in paged(lambda size, cursor: keys.list(project, limit=size, cursor=cursor), None)
        if key in (one.id, one.name)
    ]
    if len(ids) > 1:
        raise Usage(f"{len(ids)} keys are called {key!r}: give the id. isolet keys list shows it")
    asking.confirm(f"Delete the key {key}?", yes=yes)
    keys.delete(project, ids[0] if ids else key)
    session.output.done({"id": ids[0] if ids else key, "deleted": True}, f"Deleted {key}.")
