"""`isolet logout`: forgets a server."""

from __future__ import annotations

import os

from isolet.cli import keyrings, profiles
from isolet.cli.commands import Commands
from isolet.cli.profiles import DEFAULT
from isolet.cli.session import Session
from isolet.errors import NotFound

app = Commands()


@app.of_server()
def logout(session: Session) -> None:
    """Forget the address and the key of a profile.

    \b
    isolet logout --profile work
    """
    name = session.options.profile or DEFAULT
    known = profiles.load(os.environ)
    if name not in known:
        raise NotFound(f"there is no profile {name!r}")
    if known.pop(name).key is None:
        keyrings.forget(name)
    profiles.save(os.environ, known)
    session.output.done({"profile": name, "deleted": True}, f"Forgot the profile {name}.")
