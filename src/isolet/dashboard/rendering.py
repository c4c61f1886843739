"""Templates, their filters, and the files that pages load."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request

from isolet import __version__
from isolet.dashboard import charts
from isolet.dashboard.policy import NONCE

_HERE = Path(__file__).parent
# What a page says after a change; an address names one of these, and no text of its own.
_NOTICES = {
    "created": "The function was created and deployed.",
    "saved": "The changes were saved.",
    "deleted": "It was deleted.",
    "rolled-back": "The earlier version is live again.",
    "replayed": "The call was made again: this is the new one.",
    "run": "The schedule runs now.",
    "paused": "The schedule is paused.",
    "resumed": "The schedule goes on.",
    "ended": "The session was ended.",
    "cancelled": "The call is being cancelled.",
    "published": "The message was published.",
    "asked": "The run was told.",
    "redelivered": "Failed callbacks are sent again.",
}
_UNITS = ("B", "KB", "MB", "GB", "TB")


class Rendering:
    """`built` is the folder of what set-up bundled. `sections` are those of the navigation, in its order."""

    def __init__(self, built: Path, sections: list[Any]) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in built.iterdir()}
        self._environment.globals |= {
            "sections": sections,
            "asset": lambda name: f"/dashboard/assets/{name}?v={hashes[name]}",
            "notices": _NOTICES,
            "server_version": __version__,
            "sparkline": charts.sparkline,
        }
        self._environment.filters |= {
            "ago": ago,
            "size": size,
            "ms": milliseconds,
            "count": count,
            "moment": moment,
            "second": second,
            "json": partial(json.dumps, ensure_ascii=False),
        }

    def text(self, template: str, context: Mapping[str, Any]) -> str:
        return self._environment.get_template(template).render(context)

    def nonce(self, request: Request) -> str:
        """For the styles of this reply, which its policy lets in."""
        request.scope[NONCE] = secrets.token_urlsafe(16)
        return str(request.scope[NONCE])


def _parse(iso: str) -> datetime:
    return datetime.fromisoformat(iso)


def moment(iso: str | None) -> str:
    """A time in UTC as people write it, to the second."""
    return "never" if iso is None else _parse(iso).strftime("%Y-%m-%d %H:%M:%S UTC")


def second(number: int) -> str:
    """A time in seconds since 1970 as `moment` has it; the number itself where it is no time that people write."""
    try:
        return datetime.fromtimestamp(number, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return str(number)


def ago(iso: str | None, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> str:
    """How long ago, or in what time, in one unit."""
    if iso is None:
        return "never"
    seconds = (now() - _parse(iso)).total_seconds()
    distance = abs(seconds)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if distance >= length:
            text = f"{int(distance // length)} {unit}"
            return f"{text} ago" if seconds >= 0 else f"in {text}"
    return "now"


def size(number: float | None) -> str:
    if number is None:
        return "–"
    for unit in _UNITS:
        if number < 1024 or unit == _UNITS[-1]:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1024
    raise AssertionError


def milliseconds(number: float | None) -> str:
    if number is None:
        return "–"
    if number < 10:
        return f"{number:.1f} ms"
    return f"{number:.0f} ms" if number < 10_000 else f"{number / 1000:.1f} s"


def count(number: float | None) -> str:
    return "–" if number is None else f"{number:,.0f}".replace(",", "\u202f")
