"""`isolet pull`: the sources of functions, from a server to disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isolet.cli.commands import Commands
from isolet.cli.deploy import Config, Environment, project_of
from isolet.cli.output import note
from isolet.cli.session import Session

if TYPE_CHECKING:
    from isolet.workspace.model import FunctionConfig, Workspace
    from isolet.workspace.pulling import Pull
    from isolet.workspace.state import State

app = Commands()


@app.of_server()
def pull(
    session: Session,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Functions; without any the project's.", show_default=False),
    ] = None,
    env: Environment = None,
    config: Config = None,
    diff: Annotated[bool, typer.Option("--diff", help="Show what would change, and write nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite changes that are only here.")] = False,
) -> None:
    """Bring the live sources of functions here.

    Files that were changed here since the last deploy or pull are not overwritten: then nothing is written, and they
    are named. A function that the project does not have yet is added to isolet.toml.

    \\b
    isolet pull --diff
    isolet pull hello
    """
    from isolet.workspace.pulling import add_function, check, write
    from isolet.workspace.state import State

    workspace = _workspace(env, config)
    project = project_of(session, workspace)
    state = State(workspace.root, session.target.url, project)
    chosen = {one.name: one for one in workspace.functions}
    found = [_plan(session, workspace, chosen.get(name), name, project, state) for name in names or chosen]
    pulls = [plan for _, plan in found]
    if diff:
        shown = {one.name: one.text() for one in pulls}
        session.output.done({"diffs": shown}, "".join(shown.values()).rstrip("\n") or "Nothing differs.")
        return
    if not force:
        check(pulls)
    for function, one in found:
        for path in one.skipped:
            note(f"left out: {path}")
        if one.name not in chosen:
            add_function(workspace, function)
        write(workspace, one, state)
    state.save()
    _report(session, pulls)


def _report(session: Session, pulls: Sequence[Pull]) -> None:
    done = [
        {"name": one.name, "version": one.version, "written": list(one.files), "deleted": list(one.gone)}
        for one in pulls
    ]
    lines = [
        f"{one.name}: version {one.version}, {len(one.files)} files written, {len(one.gone)} deleted" for one in pulls
    ]
    session.output.done(done, "\n".join(lines))


def _workspace(env: str | None, config: str | None) -> Workspace:
    """The project here; an empty one where there is none yet."""
    from isolet.workspace.isolet_toml import NAME
    from isolet.workspace.loading import find_root, load
    from isolet.workspace.model import Workspace

    here = Path.cwd()
    if config is None and not any((folder / NAME).exists() for folder in (here, *here.parents)):
        from isolet.workspace.errors import WorkspaceError

        try:
            find_root(here)
        except WorkspaceError:
            return Workspace(root=here.resolve(), file=NAME, functions=(), environment=env)
    return load(here if config else find_root(here), environment=env, config=config)


def _plan(
    session: Session, workspace: Workspace, function: FunctionConfig | None, name: str, project: str, state: State
) -> tuple[FunctionConfig, Pull]:
    from isolet.cli.failures import Usage
    from isolet.workspace.comparing import sources_of
    from isolet.workspace.pulling import new_function, plan_pull

    reply = session.client.functions.get_named(project, name)
    if reply.version is None:
        raise Usage(f"{name} has no live version")
    if function is None and (workspace.environment or workspace.dialect != "isolet"):
        raise Usage(f"{name} is none of the project's functions, and is added only to an isolet.toml without --env")
    found = session.client.functions.get_files(reply.id, version=reply.version)
    sources = sources_of(found.entry, found.files)
    function = function or new_function(name, sources)
    return function, plan_pull(workspace, function, reply.version, sources, state)
