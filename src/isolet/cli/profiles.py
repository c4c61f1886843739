"""Servers that a user is logged in to, by name, in a file of their own.

The file has the keys that no keyring holds, so only its owner may read it.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from isolet.errors import SettingsError

DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """`key` is None where the keyring holds it. `project` is the slug of commands that name none."""

    url: str
    project: str | None = None
    key: str | None = field(default=None, repr=False)


def folder(environment: Mapping[str, str]) -> Path:
    base = environment.get("XDG_CONFIG_HOME") or os.path.join(environment.get("HOME") or "/nonexistent", ".config")
    return Path(base) / "isolet"


def load(environment: Mapping[str, str]) -> dict[str, Profile]:
    """Raises SettingsError for a file that cannot be read."""
    file = _file(environment)
    try:
        read = json.loads(file.read_text())
        return {str(name): Profile(**members) for name, members in read["profiles"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise SettingsError(f"cannot read the profiles in {file}: {exc}. Delete it and run isolet login") from exc


def save(environment: Mapping[str, str], profiles: Mapping[str, Profile]) -> Path:
    """Replace the file as a whole. Raises SettingsError."""
    file = _file(environment)
    text = json.dumps({"profiles": {name: asdict(profile) for name, profile in profiles.items()}}, indent=2)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Only its owner may read a file that `tempfile` makes.
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=file.name)
        try:
            with os.fdopen(descriptor, "w") as out:
                out.write(text + "\n")
            os.replace(name, file)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as exc:
        raise SettingsError(f"cannot write the profiles in {file}: {exc.strerror}") from exc
    return file


def _file(environment: Mapping[str, str]) -> Path:
    return folder(environment) / "profiles.json"
