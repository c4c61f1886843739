"""`isolet completion`: scripts by which a shell completes commands."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from isolet.cli.commands import Commands
from isolet.cli.session import Session

app = Commands()


@app.local()
def completion(
    session: Session,
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="The shell.", show_default=False)],
) -> None:
    """Print a script that completes commands and options.

    \b
    isolet completion bash >> ~/.bashrc
    isolet completion zsh > ~/.zfunc/_isolet
    isolet completion fish > ~/.config/fish/completions/isolet.fish
    """
    from typer._completion_shared import get_completion_script

    from isolet.cli.main import VARIABLE

    script = get_completion_script(prog_name="isolet", complete_var=VARIABLE, shell=shell)
    session.output.done({"shell": shell, "script": script}, script)


def ready() -> None:
    """What a shell needs that asks this program for completions."""
    from typer import completion as of_typer

    of_typer.completion_init()  # type: ignore[attr-defined]
