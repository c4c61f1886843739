"""`isolet deploy`: the functions of a project on disk, to a server."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isolet.cli import shown
from isolet.cli.commands import Commands
from isolet.cli.failures import ExitCode
from isolet.cli.output import note
from isolet.cli.progress import waiting
from isolet.cli.session import Session

if TYPE_CHECKING:
    from isolet.workspace.deploying import Deployed, Deploys, Server
    from isolet.workspace.errors import Problem
    from isolet.workspace.model import FunctionConfig, Workspace
    from isolet.workspace.state import State

app = Commands()

_SHOWN_MAX = 20

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PATH]...", help="Functions by name, file or folder. Without any, all.", show_default=False
    ),
]
Environment = Annotated[str | None, typer.Option("--env", metavar="NAME", help="An environment of the project.")]
Config = Annotated[str | None, typer.Option("--config", "-c", metavar="FILE", help="The configuration to read.")]
AllowUnmapped = Annotated[
    bool, typer.Option("--allow-unmapped", help="Leave out what cannot be mapped.", show_default=False)
]


@app.of_server()
def deploy(
    session: Session,
    paths: Paths = None,
    env: Environment = None,
    config: Config = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change.", show_default=False)] = False,
    force: Annotated[bool, typer.Option("--force", help="Deploy what is unchanged, too.", show_default=False)] = False,
    no_probe: Annotated[bool, typer.Option("--no-probe", help="Call no function after.", show_default=False)] = False,
    access: Annotated[
        str | None, typer.Option("--access", metavar="RULE", help="Who may call: public, key, user or none.")
    ] = None,
    allow_unmapped: AllowUnmapped = False,
) -> None:
    """Deploy the functions of a project: what changed, with its migrations and schedules.

    The project is the nearest folder upwards with an isolet.toml or a wrangler file. Without a project, a script is a
    function of its name, and a folder with an index.ts or the like one of the folder's. Unchanged functions are left
    as they are. At the end each function gets a HEAD request, and the version that answered it is shown.

    \b
    isolet deploy                                   what changed
    isolet deploy functions/hello.js --env staging  one function, as hello-staging
    isolet deploy --dry-run                         what a deploy would change
    """
    from isolet.workspace.selecting import open_workspace, with_access

    workspace, functions = open_workspace(Path.cwd(), paths or [], environment=env, config=config)
    check_mapped(workspace, allow=allow_unmapped)
    chosen = with_access(functions, access)
    project = project_of(session, workspace)
    if dry_run:
        asyncio.run(_compare(session, workspace, chosen, project))
        return
    work = _deploy(session, workspace, chosen, project, force=force, probe=not no_probe)
    # Of several functions each has a line.
    with waiting(f"Deploying {chosen[0].name}") if len(chosen) == 1 else nullcontext():
        done = asyncio.run(work)
    show(session, workspace, done)
    if any(one.problems for one in done):
        raise typer.Exit(ExitCode.FAILED)


def check_mapped(workspace: Workspace, *, allow: bool) -> None:
    """Raises Unmapped; what is left out, or means something else here, is told."""
    from isolet.workspace.loading import check_mapped as check

    check(workspace, allow=allow)
    for line in (*(f"left out: {line}" for line in workspace.unmapped), *workspace.notes):
        note(line)


def project_of(session: Session, workspace: Workspace) -> str:
    """What was given wins over the project's own file, and that over a profile."""
    given = session.options.project or os.environ.get("ISOLET_PROJECT")
    return given or workspace.project or session.project


async def _deploy(
    session: Session,
    workspace: Workspace,
    functions: Sequence[FunctionConfig],
    project: str,
    *,
    force: bool,
    probe: bool,
) -> list[Deployed]:
    deploys, state, server = _opened(session, workspace, project)
    async with server.client:
        try:
            return await deploys.deploy(functions, state, force=force, probe=probe)
        finally:
            state.save()


async def _compare(session: Session, workspace: Workspace, functions: Sequence[FunctionConfig], project: str) -> None:
    """Tell what a deploy would change, and change nothing."""
    deploys, state, server = _opened(session, workspace, project)
    async with server.client:
        pending = await deploys.pending_migrations()
        found = await deploys.compare_all(functions, state)
    changes = [
        {
            "name": one.function.name,
            "change": "made" if one.remote is None else "changed" if one.changes else "unchanged",
            "bundled": one.collected.bundled,
            "diff": one.text() if one.changes else "",
        }
        for one in found
    ]
    if session.output.as_json:
        session.output.value({"migrations": pending, "functions": changes})
        return
    for line in pending:
        session.output.done(None, line)
    for change in changes:
        text = f"{change['name']}: {change['change']}\n{change['diff']}"
        session.output.done(None, text.rstrip("\n"))


def _opened(session: Session, workspace: Workspace, project: str) -> tuple[Deploys, State, Server]:
    from isolet.client import AsyncClient
    from isolet.toolchain import find_esbuild
    from isolet.workspace.deploying import Deploys, Server
    from isolet.workspace.state import State

    target = session.target
    client = AsyncClient(target.url, target.key)
    server = Server(client=client, url=target.url, key=target.key, project=project)
    esbuild = find_esbuild(Path(given) if (given := os.environ.get("ISOLET_ESBUILD")) else None)
    state = State(workspace.root, target.url, project)
    shows_progress = sys.stderr.isatty() and len(workspace.functions) > 1 and not session.output.as_json
    progress = note if shows_progress else lambda _: None
    return Deploys(server, workspace, esbuild, tell=note, progress=progress), state, server


def show(session: Session, workspace: Workspace, done: Sequence[Deployed]) -> None:
    """A line for each function, and the errors with their places."""
    if session.output.as_json:
        session.output.value([_as_json(one) for one in done])
        return
    for one in done:
        if one.problems:
            note("\n".join([f"{one.name}: failed", *map(problem_text, one.problems)]))
        else:
            session.output.done(None, line_of(one))
    unused = _unused(workspace, done)
    if unused:
        more = f" and {len(unused) - _SHOWN_MAX} more" if len(unused) > _SHOWN_MAX else ""
        names = ", ".join(map(shown.line, unused[:_SHOWN_MAX]))
        note(f"Not sent, as no function imports them: {names}{more}")


def line_of(one: Deployed) -> str:
    text = f"{shown.line(one.name)}: {one.outcome}, version {one.version}"
    if one.collected is not None and one.collected.bundled and one.outcome != "unchanged":
        text += f", bundled here because of {one.collected.bundled}"
    if one.answered is not None:
        text += f"; version {one.answered} answered {one.answer}"
    return text


def problem_text(problem: Problem) -> str:
    """With the line, and a mark below the column."""
    text = f"  {problem}"
    if problem.text and problem.column is not None:
        text += f"\n    {problem.text}\n    {' ' * (problem.column - 1)}^"
    return text


def _unused(workspace: Workspace, done: Sequence[Deployed]) -> list[str]:
    from isolet.workspace.selecting import files_of_none

    if not workspace.file or len(done) != len(workspace.functions) or any(one.collected is None for one in done):
        return []
    return files_of_none(workspace, {path for one in done if one.collected for path in one.collected.own})


def _as_json(one: Deployed) -> dict[str, Any]:
    return {
        "name": one.name,
        "outcome": one.outcome.value,
        "version": one.version,
        "answered_version": one.answered,
        "answered_status": one.answer,
        "bundled": one.collected.bundled if one.collected else None,
        "errors": [
            {"message": p.message, "file": p.file, "line": p.line, "column": p.column, "text": p.text}
            for p in one.problems
        ],
    }
