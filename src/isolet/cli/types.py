"""`isolet types`: types of what functions get, from the project's configuration and the server's secrets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isolet.cli.commands import Commands
from isolet.cli.deploy import Config, Environment, project_of
from isolet.cli.failures import ExitCode
from isolet.cli.output import note
from isolet.cli.session import Session

if TYPE_CHECKING:
    from isolet.workspace.model import Workspace

app = Commands()


@app.of_server()
def types(
    session: Session,
    env: Environment = None,
    config: Config = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; end with 1 when it is out of date.")] = False,
    local: Annotated[
        bool, typer.Option("--local", help="Ask no server: the names of secrets are those in the file.")
    ] = False,
) -> None:
    """Write types of env, of the context and of handlers.

    They are in isolet.d.ts, or in worker-configuration.d.ts of a project with a wrangler file. Secrets are those that
    the functions have on the server, and the names in .dev.vars or .env.

    \\b
    isolet types
    isolet types --check --local   in CI
    """
    from isolet.workspace.env_files import read_env_files
    from isolet.workspace.selecting import open_workspace
    from isolet.workspace.type_files import file_name, is_current, recorded_secrets, write_types

    workspace, _ = open_workspace(Path.cwd(), [], environment=env, config=config)
    own = set(read_env_files(workspace.root, env))
    found = recorded_secrets(workspace) if local else _secrets(session, workspace)
    secrets = {one.name: sorted(own | set(found.get(one.name, ()))) for one in workspace.functions}
    name = file_name(workspace)
    if check:
        current = is_current(workspace, secrets)
        session.output.done({"file": name, "current": current}, f"{name}: {'up to date' if current else 'out of date'}")
        if not current:
            raise typer.Exit(ExitCode.FAILED)
        return
    changed = write_types(workspace, secrets)
    session.output.done({"file": name, "changed": changed}, f"{name}: {'written' if changed else 'unchanged'}")


def _secrets(session: Session, workspace: Workspace) -> dict[str, list[str]]:
    """The names of secrets by function; none where no server says them."""
    from isolet.client import ApiError, NotFound
    from isolet.workspace.type_files import recorded_secrets

    found: dict[str, list[str]] = {}
    try:
        project = project_of(session, workspace)
        for function in workspace.functions:
            try:
                reply = session.client.functions.get_named(project, function.name)
            except NotFound:
                continue
            found[function.name] = [one.name for one in session.client.secrets.list(reply.id).data]
    except ApiError as exc:
        note(f"No server says which secrets there are, so those of before stay: {exc.message}")
        return recorded_secrets(workspace)
    return found
