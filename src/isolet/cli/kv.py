"""`isolet kv`: the keys and values of a project."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from isolet.cli.commands import All, Commands, Limit
from isolet.cli.failures import Usage
from isolet.cli.output import Cell, binary, paged
from isolet.cli.session import Session

_HELP = """Keys and values of a project.

\b
isolet kv list user:
isolet kv put greeting Hello
isolet kv get photo > photo.png
isolet kv delete greeting
"""

app = Commands(_HELP)

Key = Annotated[str, typer.Argument(help="The key.", show_default=False)]
Namespace = Annotated[str, typer.Option(help="The namespace.")]

_COLUMNS: dict[str, Cell] = {
    "KEY": "name",
    "EXPIRES": "expiration",
    "METADATA": "metadata",
}


@app.of_server("list")
def list_keys(
    session: Session,
    prefix: Annotated[str, typer.Argument(help="Keys that begin with it.", show_default=False)] = "",
    namespace: Namespace = "default",
    limit: Limit = 50,
    all_: All = False,
) -> None:
    """List keys."""
    kv, project = session.client.kv, session.project
    found = paged(
        lambda size, cursor: kv.list(project, prefix=prefix, limit=size, cursor=cursor, namespace=namespace),
        None if all_ else limit,
    )
    session.output.items(found, _COLUMNS)


@app.of_server("get")
def get(
    session: Session,
    key: Key,
    namespace: Namespace = "default",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the value to this file.")] = None,
) -> None:
    """Print a value."""
    from isolet.cli.calls import body_of

    value = session.client.kv.get(session.project, key, namespace=namespace)
    if output is not None:
        _write(output, value.data)
    elif session.output.as_json:
        session.output.value({"key": key, **body_of(value.data, name="value"), "metadata": value.metadata})
    else:
        binary([value.data])


@app.of_server("put")
def put(
    session: Session,
    key: Key,
    value: Annotated[str | None, typer.Argument(help="The value, else standard input.", show_default=False)] = None,
    file: Annotated[Path | None, typer.Option(help="Read the value from this file.")] = None,
    ttl: Annotated[int | None, typer.Option(help="Seconds until it expires.", show_default=False)] = None,
    metadata: Annotated[str | None, typer.Option(metavar="JSON", help="What lists show of it.")] = None,
    namespace: Namespace = "default",
) -> None:
    """Set a value.

    \b
    isolet kv put greeting Hello
    isolet kv put photo --file photo.png --ttl 3600
    """
    content = _content(value, file)
    session.client.kv.put(session.project, key, content, expiration_ttl=ttl, metadata=metadata, namespace=namespace)
    session.output.done({"key": key, "size_bytes": len(content)}, f"Set {key}.")


@app.of_server("delete")
def delete(session: Session, key: Key, namespace: Namespace = "default") -> None:
    """Delete a key."""
    session.client.kv.delete(session.project, key, namespace=namespace)
    session.output.done({"key": key, "deleted": True}, f"Deleted {key}.")


def _content(value: str | None, file: Path | None) -> bytes:
    if value is not None and file is not None:
        raise Usage("a value and --file do not go together")
    if file is not None:
        try:
            return file.read_bytes()
        except OSError as exc:
            raise Usage(f"cannot read {file}: {exc.strerror}") from exc
    return sys.stdin.buffer.read() if value is None else os.fsencode(value)


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as exc:
        raise Usage(f"cannot write {path}: {exc.strerror}") from exc
