"""Settings that are a text of a form of its own. Each error names the variable."""

from __future__ import annotations

import ipaddress
import urllib.parse

from isolet.errors import SettingsError

_LIMITED_PLANS = ("free", "pro", "enterprise", "platform")


def read_networks(name: str, text: str) -> tuple[str, ...]:
    """CIDRs, comma separated. Raises SettingsError."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            network = ipaddress.ip_network(part, strict=False)
        except ValueError as exc:
            raise SettingsError(f"cannot read {name}: {part!r} is not a network such as 10.0.0.0/8") from exc
        found.append(str(network))
    return tuple(found)


def read_limits(name: str, text: str) -> dict[str, int]:
    """`plan=requests` pairs, comma separated. Raises SettingsError."""
    limits = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        plan, _, number = (word.strip() for word in part.partition("="))
        if plan not in _LIMITED_PLANS or not (number.isascii() and number.isdigit()) or not int(number):
            raise SettingsError(
                f"cannot read {name}: {part!r} is not a plan ({', '.join(_LIMITED_PLANS)}) and a "
                "number of requests, such as free=100"
            )
        limits[plan] = int(number)
    return limits


def check_url(name: str, text: str | None, *, path: bool = True) -> None:
    """Raises SettingsError for what is no base of addresses; without `path` it may have none."""
    if text is None:
        return
    try:
        parts = urllib.parse.urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)
        usable = usable and (path or parts.path in ("", "/"))
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError(f"cannot read {name}: {text!r} is not an address such as https://example.com")
