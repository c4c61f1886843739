"""`isolet serve`: every setting of the settings table is a flag."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isolet import configfile, settings
from isolet.errors import IsoletError
from isolet.telemetry import configure_logging

if TYPE_CHECKING:
    from isolet.server import Started


def serve(**flags: Any) -> None:
    """Start the platform.

    \b
    isolet serve --example
    isolet serve --port 8080 --data-dir /var/lib/isolet
    isolet serve --config /etc/isolet/isolet.toml
    """
    example, config = flags.pop("example"), flags.pop("config")
    file = None
    try:
        file = configfile.read(config) if config is not None else None
        chosen = settings.load(os.environ, flags, file)
        configure_logging(form=chosen.log_format, level=chosen.log_level)

        # Loaded last, so that a setting that makes no sense is told at once.
        with _ended_by_interrupts():
            # What is loaded stays: looking for garbage in it costs a tenth of the start. The server turns it on again.
            gc.disable()
            import uvloop

            from isolet.server import serve as run

        if file is not None and configfile.tells_secrets(file):
            typer.echo(f"Warning: every user may read {file.path}, which holds secrets; use chmod o-r.", err=True)
        for name, nearest in settings.misspelt(os.environ).items():
            hint = f"; did you mean {nearest}?" if nearest else ""
            typer.echo(f"Warning: {name} is no setting{hint}", err=True)
        if chosen.sandbox == "off":
            typer.echo("Warning: --sandbox=off, functions run without bubblewrap around them.", err=True)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(chosen, example=example, on_started=_tell))
    except IsoletError as exc:
        typer.echo(f"isolet: {settings.with_source(exc.message, os.environ, flags, file)}", err=True)
        raise typer.Exit(1) from exc


@contextmanager
def _ended_by_interrupts() -> Iterator[None]:
    """Ctrl-C ends the process at once, while there is nothing to stop: imports that it breaks off say odd things."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _tell(started: Started) -> None:
    lines = ["", f"Isolet is ready at {started.url}"]
    if started.pages_url is not None:
        lines.append(f"Docs: {started.pages_url}/docs")
    if started.sign_in_url is not None:
        lines.append(f"Dashboard: {started.sign_in_url}")
    key = started.new_key
    if key is not None:
        lines.append(f"API key: {key}")
    elif started.root_key_file is not None:
        lines.append(f"API key: in {started.root_key_file}")
        key = f"$(cat {shlex.quote(str(started.root_key_file))})"
    else:
        key = "$ISOLET_API_KEY"
    if started.example is not None:
        lines += ["Try it:", "", _curl(started.url, started.example.id, key)]
    sys.stdout.write("\n".join(lines) + "\n\n")
    sys.stdout.flush()


def _curl(url: str, function_id: str, key: str) -> str:
    return (
        f"  curl -X POST {url}/platform/v1/functions/{function_id}/invoke"
        f' -H "X-API-Key: {key}" -H "Content-Type: application/json" -d \'{{"name": "world"}}\''
    )


# Flags that are given without a value.
_SWITCHES = frozenset({"adopt"})
_CONFIG = "File of settings in TOML; its keys are these flags with underscores. Flags and variables win over it."


def _signature() -> inspect.Signature:
    """With one option for each setting, from the settings table; values are checked there, not here."""
    parameters = [
        inspect.Parameter(
            "example",
            inspect.Parameter.KEYWORD_ONLY,
            default=False,
            annotation=Annotated[bool, typer.Option("--example", help="Deploy an example function at start.")],
        ),
        inspect.Parameter(
            "config",
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[Path | None, typer.Option("--config", help=_CONFIG, show_default=False)],
        ),
    ]
    return inspect.Signature([*parameters, *setting_options()])


def setting_options() -> list[inspect.Parameter]:
    """An option for each setting."""
    parameters = []
    for field in settings.fields():
        kind: type = Path if settings.value_type(field) is Path else str
        if field.name in _SWITCHES:
            kind = bool
        flag = "--" + field.name.replace("_", "-")
        shown = "" if field.default in (None, "") else f" Default: {field.default}."
        option = typer.Option(flag, help=field.metadata["doc"] + shown, show_default=False)
        parameters.append(
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[kind | None, option],
            )
        )
    return parameters


_SIGNATURE = _signature()
serve.__signature__ = _SIGNATURE  # type: ignore[attr-defined]
serve.__annotations__ = {name: parameter.annotation for name, parameter in _SIGNATURE.parameters.items()}

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
app.command()(serve)
