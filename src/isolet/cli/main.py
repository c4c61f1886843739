"""The `isolet` command."""

from __future__ import annotations

import typer

from isolet import __version__
from isolet.cli import secrets
from isolet.cli.serve import serve

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command()(serve)
app.add_typer(secrets.app, name="secrets")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    _: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    """Isolet, a self-hosted functions platform."""


def main() -> None:
    app()
