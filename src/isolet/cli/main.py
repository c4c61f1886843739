"""The `isolet` command: which commands there are. A module of its own has each, and is loaded when it is called."""

from __future__ import annotations

from typing import Annotated, ClassVar

import typer

from isolet import __version__
from isolet.cli.commands import root
from isolet.cli.lazy import Entry, LazyGroup


class _Root(LazyGroup):
    entries: ClassVar[dict[str, Entry]] = {
        "serve": Entry("serve", "Start the platform."),
        "invoke": Entry("invoke", "Call a function."),
        "logs": Entry("logs", "What functions print."),
        "functions": Entry("functions", "Functions and their versions."),
        "secrets": Entry("secrets", "Secrets of functions, and the key that encrypts them."),
    }


# Help is plain text: in markup, the brackets of examples would be something else.
app = typer.Typer(
    cls=_Root, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
@root
def main_options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Isolet, a self-hosted functions platform."""


def main() -> None:
    app(prog_name="isolet")
