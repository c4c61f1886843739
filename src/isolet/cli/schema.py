"""`isolet schema`: every command as data, for programs that call them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from isolet.cli.commands import Commands
from isolet.cli.failures import ExitCode
from isolet.cli.session import Session

if TYPE_CHECKING:
    from typer._click import Command

app = Commands()


@app.local()
def schema(session: Session) -> None:
    """Print all commands, with their arguments and options, as JSON.

    \b
    isolet schema | jq '.commands | keys'
    """
    session.output.value(described())


def described() -> dict[str, Any]:
    """`commands` by name; each has `help`, `arguments`, `options`, and `commands` where it is a group."""
    from isolet.cli.main import app as whole

    command = typer.main.get_command(whole)
    codes = {code.name.lower(): code.value for code in ExitCode}
    return {**_command(command), "exit_codes": codes}


def _command(command: Command) -> dict[str, Any]:
    found: dict[str, Any] = {"help": command.help or ""}
    subcommands = getattr(command, "commands", None)
    if subcommands is not None:
        found["commands"] = {name: _command(subcommands[name]) for name in subcommands}
        return found
    parameters: list[Any] = list(command.params)
    shown = [one for one in parameters if not one.hidden and one.name != "help"]
    found["arguments"] = [_parameter(one) for one in shown if one.param_type_name == "argument"]
    found["options"] = [_parameter(one) for one in shown if one.param_type_name == "option"]
    return found


def _parameter(parameter: Any) -> dict[str, Any]:
    """`type` is `flag`, `choice`, or the name of a Python type."""
    is_argument = parameter.param_type_name == "argument"
    descriptor = parameter.type_descriptor
    kind = "flag" if getattr(parameter, "is_flag", False) else "choice" if descriptor.is_choice else None
    return {
        "name": (parameter.metavar or parameter.name) if is_argument else parameter.opts[0],
        "names": [] if is_argument else list(parameter.opts),
        "help": parameter.help or "",
        "type": kind or parameter.bare_type(),
        "choices": [str(choice) for choice in descriptor.choices or ()],
        "required": parameter.required,
        "multiple": descriptor.is_list,
        "default": _default(parameter.default),
    }


def _default(value: Any) -> str | int | float | bool | None:
    return value if value is None or isinstance(value, str | int | float) else str(value)
