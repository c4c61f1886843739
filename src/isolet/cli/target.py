"""Which server a command talks to, with which key and project.

What comes first wins: an option, the profile that an option names, a variable, the profile `default`, and at last the
root key in a server's data directory on this machine. A key goes to the address that it belongs to: that of a profile
to no other, and one that was found in a data directory to no other machine.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from isolet.cli.profiles import DEFAULT, Profile
from isolet.errors import NotFound

DEFAULT_URL = "http://127.0.0.1:7878"
DEFAULT_DATA_DIR = ".isolet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the options say that every command has."""

    url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    project: str | None = None
    profile: str | None = None
    data_dir: Path | None = None
    json: bool = False

    def over(self, other: Options) -> Options:
        """These, and the other ones where these are not given."""
        return Options(
            url=self.url or other.url,
            api_key=self.api_key or other.api_key,
            project=self.project or other.project,
            profile=self.profile or other.profile,
            data_dir=self.data_dir or other.data_dir,
            json=self.json or other.json,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`key` is empty when none was found; `project` is None where nothing says which one."""

    url: str
    key: str = field(repr=False)
    project: str | None


def choose(
    options: Options,
    environment: Mapping[str, str],
    profiles: Mapping[str, Profile],
    keyring: Callable[[str], str | None],
) -> Target:
    """`keyring` gives the key of a profile by its name. Raises NotFound for a profile that is not there."""
    named = options.profile or (None if environment.get("ISOLET_URL") else environment.get("ISOLET_PROFILE"))
    if named is not None and named not in profiles:
        raise NotFound(f"there is no profile {named!r}. Run isolet login --profile {named}")
    profile = profiles.get(named or DEFAULT)
    variables = {} if options.profile else environment
    url = options.url or variables.get("ISOLET_URL") or (profile.url if profile else DEFAULT_URL)
    if profile is not None and not _is_same(url, profile.url):
        profile = None
    key = (options.api_key or variables.get("ISOLET_API_KEY") or "").strip()
    of_profile = profile is not None and not key
    if profile is not None and of_profile:
        key = profile.key or keyring(named or DEFAULT) or ""
    if not key:
        key = _root_key(url, options.data_dir, environment)
    project = options.project or variables.get("ISOLET_PROJECT")
    if not project and profile is not None and of_profile:
        project = profile.project
    return Target(url=url, key=key, project=project or None)


def _is_same(one: str, other: str) -> bool:
    return one.rstrip("/") == other.rstrip("/")


def _root_key(url: str, given: Path | None, environment: Mapping[str, str]) -> str:
    """Empty where there is none."""
    if given is None and not _is_loopback(url):
        return ""
    folder = given or Path(environment.get("ISOLET_DATA_DIR") or DEFAULT_DATA_DIR)
    try:
        return (folder / "root-key").read_text().strip()
    except (OSError, ValueError):
        return ""


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
