"""`isolet secrets`: secrets of functions, and what an operator does about their encryption."""

from __future__ import annotations

import os

from isolet.cli.commands import Commands
from isolet.cli.session import Session

app = Commands("Secrets of functions, and the key that encrypts them.")


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
