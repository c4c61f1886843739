"""`isolet projects`: projects and their settings."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from isolet.cli import asking
from isolet.cli.commands import All, Commands, Limit, Yes
from isolet.cli.failures import Usage
from isolet.cli.output import Cell, paged
from isolet.cli.session import Session

_HELP = """Projects.

\b
isolet projects list
isolet projects create shop
isolet keys create admin --role admin --project shop
"""

app = Commands(_HELP)

Slug = Annotated[str, typer.Argument(help="The project's slug.", show_default=False)]
Name = Annotated[str | None, typer.Option(help="A name for people.", show_default=False)]
Plan = Annotated[str | None, typer.Option(help="Its plan, which says how many requests it may make.")]
Origins = Annotated[list[str] | None, typer.Option("--origin", help="An origin that browsers may call from.")]
Limits = Annotated[list[str] | None, typer.Option("--limit", metavar="NAME=NUMBER", help="A limit of its own.")]

_COLUMNS: dict[str, Cell] = {
    "SLUG": "slug",
    "NAME": "name",
    "PLAN": "plan",
    "CREATED": "created_at",
}


@app.of_server("list")
def list_projects(session: Session, limit: Limit = 50, all_: All = False) -> None:
    """List the projects that the key sees."""
    projects = session.client.projects
    found = paged(lambda size, cursor: projects.list(limit=size, cursor=cursor), None if all_ else limit)
    session.output.items(found, _COLUMNS)


@app.of_server("get")
def get(session: Session, slug: Slug) -> None:
    """Show a project with its limits."""
    session.output.item(session.client.projects.get(slug))


@app.of_server("create")
def create(
    session: Session, slug: Slug, name: Name = None, plan: Plan = None, origin: Origins = None, limit: Limits = None
) -> None:
    """Make a project; it takes the root key."""
    from isolet.contract.projects import ProjectCreate

    made = session.client.projects.create(ProjectCreate(slug=slug, **_given(name, plan, origin, limit)))
    session.output.done(made.to_json(), f"Made {made.slug}. isolet keys create NAME --role admin --project {made.slug}")


@app.of_server("update")
def update(
    session: Session, slug: Slug, name: Name = None, plan: Plan = None, origin: Origins = None, limit: Limits = None
) -> None:
    """Change what is given of a project. `--limit NAME=` takes the server's default again."""
    from isolet.contract.projects import ProjectUpdate

    changed = session.client.projects.update(slug, ProjectUpdate(**_given(name, plan, origin, limit)))
    session.output.item(changed)


@app.of_server("delete")
def delete(session: Session, slug: Slug, yes: Yes = False) -> None:
    """Delete a project with everything in it; it takes the root key."""
    asking.confirm(f"Delete the project {slug} with its functions and data?", yes=yes)
    session.client.projects.delete(slug)
    session.output.done({"slug": slug, "deleted": True}, f"Deleted {slug}.")


def _given(name: str | None, plan: str | None, origins: list[str] | None, limits: list[str] | None) -> dict[str, Any]:
    """What is not given is not sent."""
    given: dict[str, Any] = {"name": name, "plan": plan, "allowed_origins": origins}
    if limits:
        given["limits"] = dict(_limit(text) for text in limits)
    return {member: value for member, value in given.items() if value is not None}


def _limit(text: str) -> tuple[str, int | None]:
    name, sign, value = text.partition("=")
    try:
        return name, int(value) if value or not sign else None
    except ValueError:
        raise Usage(f"--limit is NAME=NUMBER, not {text!r}") from None
