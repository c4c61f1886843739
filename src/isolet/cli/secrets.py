"""`isolet secrets`: what an operator does about the encryption of secrets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from isolet.cli.connection import DEFAULT_URL, connect
from isolet.errors import IsoletError

app = typer.Typer(no_args_is_help=True, help="The encryption of secrets.")


@app.callback()
def group() -> None:
    """The encryption of secrets."""


@app.command("rotate-master-key")
def rotate_master_key(
    url: Annotated[str, typer.Option(envvar="ISOLET_URL", help="The server.")] = DEFAULT_URL,
    data_dir: Annotated[Path, typer.Option(envvar="ISOLET_DATA_DIR", help="Where the root key is.")] = Path(".isolet"),
) -> None:
    """Wrap everything with a new master key, while the server runs.

    The new key is ISOLET_NEW_MASTER_KEY (32 bytes in base64), or made by a server that keeps the key in its data
    directory.
    """
    # Not at the top: `isolet serve` loads every command, and has no use for a client.
    from isolet.contract.master_key import MasterKeyRotation

    try:
        with connect(url, data_dir) as client:
            done = client.master_key.rotate(MasterKeyRotation(new_key=os.environ.get("ISOLET_NEW_MASTER_KEY") or None))
    except IsoletError as exc:
        typer.echo(f"isolet: {exc.message}", err=True)
        raise typer.Exit(1) from exc
    typer.echo(f"The master key is now {done.key_id}; it wraps the keys of {done.data_keys} projects.")
