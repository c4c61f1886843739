"""`isolet secrets`: secrets of functions, and what an operator does about their encryption."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from isolet.cli.commands import Commands, OfFunction
from isolet.cli.failures import Usage
from isolet.cli.output import Cell
from isolet.cli.session import Session

_HELP = """Secrets of functions, and the key that encrypts them.

\b
isolet secrets list --function hello
isolet secrets set API_TOKEN --function hello
isolet secrets delete API_TOKEN --function hello
"""

app = Commands(_HELP)

_COLUMNS: dict[str, Cell] = {
    "NAME": "name",
    "TYPE": "type",
    "CREATED": "created_at",
}
_REFUSED = (
    "a secret's value in an argument is seen by every process of this machine, and kept by the shell. "
    "Leave it out: it is asked for, or read from standard input or --file"
)


@app.of_server("list")
def list_secrets(session: Session, function: OfFunction) -> None:
    """List names and types. Values are never shown."""
    session.output.items(session.client.secrets.list(session.function(function).id).data, _COLUMNS)


@app.of_server("set")
def set_secret(
    session: Session,
    name: Annotated[str, typer.Argument(help="The name under which the function finds it.", show_default=False)],
    function: OfFunction,
    refused: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    file: Annotated[Path | None, typer.Option(help="Read the value from this file, as it is.")] = None,
) -> None:
    """Set a secret. The value comes from a prompt, from standard input or from a file.

    \b
    isolet secrets set API_TOKEN --function hello
    pass show token | isolet secrets set API_TOKEN --function hello
    isolet secrets set KEY --function hello --file key.pem
    """
    from isolet.contract.secrets import SecretValue

    if refused or "=" in name:
        raise Usage(_REFUSED)
    value = _value(file)
    found = session.function(function)
    done = session.client.secrets.put(found.id, name, SecretValue(value=value))
    session.output.done(done.to_json(), f"Set {done.name} of {found.name}.")


@app.of_server("delete")
def delete(
    session: Session,
    name: Annotated[str, typer.Argument(help="The secret.", show_default=False)],
    function: OfFunction,
) -> None:
    """Delete a secret."""
    found = session.function(function)
    session.client.secrets.delete(found.id, name)
    session.output.done({"name": name, "deleted": True}, f"Deleted {name} of {found.name}.")


@app.of_server("rotate-master-key")
def rotate_master_key(session: Session) -> None:
    """Wrap everything with a new master key, while the server runs.

    The new key is ISOLET_NEW_MASTER_KEY (32 bytes in base64), or made by a server that keeps the key in its data
    directory.
    """
    from isolet.contract.master_key import MasterKeyRotation

    new_key = os.environ.get("ISOLET_NEW_MASTER_KEY") or None
    done = session.client.master_key.rotate(MasterKeyRotation(new_key=new_key))
    session.output.done(
        done.to_json(), f"The master key is now {done.key_id}; it wraps the keys of {done.data_keys} projects."
    )


def _value(file: Path | None) -> str:
    """The line break behind a value in standard input, which `echo` and a person make, is none of the value."""
    if file is None and sys.stdin.isatty():
        return str(typer.prompt("Value", hide_input=True, err=True))
    try:
        content = sys.stdin.buffer.read() if file is None else file.read_bytes()
        text = content.decode()
    except OSError as exc:
        raise Usage(f"cannot read {file}: {exc.strerror}") from exc
    except UnicodeDecodeError:
        raise Usage("the value of a secret is text in UTF-8") from None
    return text if file is not None else text.removesuffix("\n").removesuffix("\r")
