"""The keyring of the user's desktop, where there is one that answers in time.

A keyring may ask its user, wait for a service that never comes, or fail in ways of its own. It is used in a process
that can be ended, and what it does not do in time it does not do at all.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

TIMEOUT_S = 2.0
_SERVICE = "isolet"
_READ = "import sys, keyring; sys.stdout.write(keyring.get_password(sys.argv[1], sys.argv[2]) or '')"
_WRITE = "import sys, keyring; keyring.set_password(sys.argv[1], sys.argv[2], sys.stdin.read())"

_DELETE = "import sys, keyring; keyring.delete_password(sys.argv[1], sys.argv[2])"


def is_there() -> bool:
    """Without a desktop a keyring has nobody to ask, and asking takes its time."""
    return bool(os.environ.get("DBUS_SESSION_BUS_ADDRESS")) and not os.environ.get("CI") and _is_installed()


def key_of(profile: str) -> str | None:
    return _run(_READ, profile, "") or None


def keep(profile: str, key: str) -> bool:
    """Whether the keyring holds the key now, and gives it back."""
    return is_there() and _run(_WRITE, profile, key) is not None and key_of(profile) == key


def forget(profile: str) -> None:
    _run(_DELETE, profile, "")


def _run(program: str, profile: str, given: str) -> str | None:
    if not _is_installed():
        return None
    try:
        done = subprocess.run(
            [sys.executable, "-c", program, _SERVICE, profile],
            input=given,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (subprocess.TimeoutExpired, OSError, ValueError):
        return None
    return done.stdout if done.returncode == 0 else None


def _is_installed() -> bool:
    return find_spec("keyring") is not None
