"""`isolet init`: a new project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from isolet.cli.commands import Commands
from isolet.cli.session import Session

app = Commands()


@app.local()
def init(
    session: Session,
    name: Annotated[
        str | None, typer.Argument(help="A new folder for it; without a name, this folder.", show_default=False)
    ] = None,
    template: Annotated[
        str, typer.Option("--template", "-t", help="hello, handler, storage, schedule or node.")
    ] = "hello",
    language: Annotated[Literal["ts", "js"], typer.Option("--language", "-l", help="TypeScript or JavaScript.")] = "ts",
) -> None:
    """Make a new project, with one function.

    \\b
    isolet init shop
    isolet init shop --template storage --language js
    """
    from isolet.workspace.loading import load
    from isolet.workspace.scaffolding import Language, check_name, make_project
    from isolet.workspace.type_files import file_name, write_types

    folder = Path.cwd() if name is None else Path.cwd() / check_name(name)
    written = make_project(folder, template, Language(language))
    if language == "ts":
        workspace = load(folder)
        write_types(workspace, {})
        written.append(file_name(workspace))
    going = "" if name is None else f"cd {name} && "
    shown = [path if name is None else f"{name}/{path}" for path in written]
    text = "\n".join([*shown, "", f"Next: {going}isolet dev"])
    session.output.done({"folder": str(folder), "files": written}, text)
