"""The `isolet` command: which commands there are. A module of its own has each, and is loaded when it is called."""

from __future__ import annotations

import os
import sys
from typing import Annotated, ClassVar

import typer

from isolet import __version__
from isolet.cli.commands import root
from isolet.cli.lazy import Entry, LazyGroup

# By it a shell asks for completions.
VARIABLE = "_ISOLET_COMPLETE"


class _Root(LazyGroup):
    entries: ClassVar[dict[str, Entry]] = {
        "serve": Entry("serve", "Start the platform."),
        "init": Entry("init", "Make a new project."),
        "dev": Entry("dev", "Run a project on this machine, with every save."),
        "deploy": Entry("deploy", "Deploy the functions of a project on disk."),
        "pull": Entry("pull", "Bring the live sources of functions here."),
        "types": Entry("types", "Write types of what functions get."),
        "invoke": Entry("invoke", "Call a function."),
        "logs": Entry("logs", "Show what functions print."),
        "functions": Entry("functions", "Functions and their versions."),
        "invocations": Entry("invocations", "Calls that were made."),
        "replay": Entry("replay", "Make a call again."),
        "secrets": Entry("secrets", "Secrets of functions, and the key that encrypts them."),
        "env": Entry("env", "Variables of functions."),
        "kv": Entry("kv", "Keys and values of a project."),
        "db": Entry("database", "SQL databases of a project."),
        "schedules": Entry("schedules", "Functions that run by the clock."),
        "flows": Entry("flows", "Workflows and their runs."),
        "jobs": Entry("jobs", "Asynchronous calls and their callbacks."),
        "realtime": Entry("realtime", "Messages of channels."),
        "keys": Entry("keys", "API keys of a project."),
        "projects": Entry("projects", "Projects."),
        "usage": Entry("usage", "What projects use in a month."),
        "backup": Entry("backup", "Write all that a running server keeps to a file."),
        "restore": Entry("restore", "Put a backup into the data directory of a stopped server."),
        "doctor": Entry("doctor", "Check whether this machine can run a server."),
        "login": Entry("login", "Keep the address and the key of a server."),
        "logout": Entry("logout", "Forget a server."),
        "schema": Entry("schema", "All commands as JSON."),
        "completion": Entry("completion", "Print a script that completes commands in a shell."),
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
    # A command of httpx's own, which loads three libraries for 50 ms: httpx does without it when it cannot be imported.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
    if os.environ.get(VARIABLE):
        from isolet.cli.completion import ready

        ready()
    app(prog_name="isolet")
