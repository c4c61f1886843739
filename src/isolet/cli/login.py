"""`isolet login`: keeps the address and the key of a server, so that commands need neither."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from isolet.cli import keyrings, profiles
from isolet.cli.commands import Commands
from isolet.cli.failures import Usage
from isolet.cli.profiles import DEFAULT, Profile
from isolet.cli.session import Session
from isolet.cli.target import DEFAULT_URL

app = Commands()


@app.of_server()
def login(
    session: Session,
    insecure_file: Annotated[
        bool, typer.Option("--no-keyring", help="Keep the key in a file of the user's own.")
    ] = False,
) -> None:
    """Keep the address and the key of a server under a name.

    The key is asked for, or read from standard input. A key of a project chooses that project.

    \b
    isolet login --url https://functions.example.com
    isolet login --url http://127.0.0.1:7878 --profile local < .isolet/root-key
    """
    from isolet.client import Client

    options = session.options
    name = options.profile or DEFAULT
    known = profiles.load(os.environ)
    url = options.url or os.environ.get("ISOLET_URL") or (known[name].url if name in known else DEFAULT_URL)
    key = options.api_key or _key()
    with Client(url, key) as client:
        seen = client.projects.list(limit=2).data
    project = options.project or (seen[0].slug if len(seen) == 1 else None)
    in_keyring = not insecure_file and keyrings.keep(name, key)
    known[name] = Profile(url=url, project=project, key=None if in_keyring else key)
    file = profiles.save(os.environ, known)
    place = "the keyring" if in_keyring else f"{file}, which only you can read"
    session.output.done(
        {"profile": name, "url": url, "project": project, "key_in": "keyring" if in_keyring else str(file)},
        f"Logged in to {url}, project {project or 'default'}, as the profile {name}. The key is in {place}.",
    )


def _key() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("API key", hide_input=True, err=True)).strip()
    key = sys.stdin.readline().strip()
    if not key:
        raise Usage("there is no key on standard input")
    return key
