"""`isolet env`: variables of functions."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from isolet.cli import shown
from isolet.cli.commands import Commands, OfFunction
from isolet.cli.failures import Usage
from isolet.cli.session import Session

_HELP = """Variables of functions.

\b
isolet env list --function hello
isolet env set GREETING=Hello --function hello
isolet env delete GREETING --function hello
"""

app = Commands(_HELP)


@app.of_server("list")
def list_variables(session: Session, function: OfFunction) -> None:
    """List variables with their values."""
    found = session.client.variables.get(session.function(function).id).root
    _print(session, found)


@app.of_server("set")
def set_variables(
    session: Session,
    given: Annotated[
        list[str], typer.Argument(metavar="NAME=VALUE...", help="Texts, or JSON behind :=.", show_default=False)
    ],
    function: OfFunction,
) -> None:
    """Set variables, live with the next call. NAME:=JSON sets a value that is no text.

    \b
    isolet env set GREETING=Hello --function hello
    isolet env set 'LIMITS:={"rows": 10}' DEBUG:=true --function hello
    """
    from isolet.contract.variables import VariableChanges

    changes = dict(_assignment(text) for text in _joined(given))
    found = session.client.variables.change(session.function(function).id, VariableChanges(changes)).root
    _print(session, found)


@app.of_server("delete")
def delete(
    session: Session,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="The variables.", show_default=False)],
    function: OfFunction,
) -> None:
    """Delete variables."""
    from isolet.contract.variables import VariableChanges

    changes = VariableChanges(dict.fromkeys(names))
    _print(session, session.client.variables.change(session.function(function).id, changes).root)


def _joined(given: list[str]) -> list[str]:
    """`NAME VALUE` is `NAME=VALUE`."""
    return ["=".join(given)] if len(given) == 2 and "=" not in given[0] else given


def _assignment(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign:
        raise Usage(f"{text!r} is not NAME=VALUE")
    if not name.endswith(":"):
        return name, value
    try:
        return name[:-1], json.loads(value)
    except (ValueError, RecursionError) as exc:
        raise Usage(f"the value of {name[:-1]} is no JSON: {exc}") from None


def _print(session: Session, variables: dict[str, Any]) -> None:
    if session.output.as_json:
        session.output.value(variables)
        return
    for name, value in sorted(variables.items()):
        text = value if isinstance(value, str) else json.dumps(value)
        session.output.line(f"{shown.line(name)}={shown.line(text)}")
