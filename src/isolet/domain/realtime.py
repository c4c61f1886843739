"""Rules of live connections: what a project sets, what channels are called, and what one message may hold."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from isolet.domain.choices import one_of
from isolet.domain.functions import is_storable
from isolet.domain.json_bounds import bounded_json
from isolet.errors import InvalidInput
from isolet.ids import ProjectId

NAME_MAX_CHARS = 200
MESSAGE_MAX_BYTES = 65_536
# What is kept of a channel for those who come back: the newest messages, of this age, of this size together.
KEPT_MESSAGES = 100
KEPT_MS = 300_000
KEPT_BYTES = 1024 * 1024
# Of all channels of a project together.
PROJECT_KEPT_BYTES = 64 * 1024 * 1024
FRAME_BYTES = (1_024, 1024 * 1024)
CONNECTIONS_MOST = 100_000


class Subscribers(StrEnum):
    """Who may subscribe to the channels of a project. `function`: whom a function of the project lets in."""

    PUBLIC = "public"
    AUTHENTICATED = "authenticated"
    FUNCTION = "function"


class RealtimeSettings(Struct, frozen=True, kw_only=True):
    """`function` is the name of the one that is asked. None takes the server's limit."""

    subscribe: Subscribers = Subscribers.AUTHENTICATED
    function: str | None = None
    max_connections: int | None = None
    max_frame_bytes: int | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Message(Struct, frozen=True, kw_only=True):
    """One message of a channel. `seq` counts from 1 without a gap; `data` is JSON in ASCII."""

    project_id: ProjectId
    channel: str
    seq: int
    event: str
    data: str


def check_realtime_settings(values: Mapping[str, Any]) -> RealtimeSettings:
    """Raises InvalidInput."""
    known = set(RealtimeSettings.__struct_fields__)
    if unknown := sorted(values.keys() - known):
        raise InvalidInput(f"{unknown[0]}: is not one of {', '.join(sorted(known))}")
    subscribe = values.get("subscribe", Subscribers.AUTHENTICATED)
    one_of("subscribe:", subscribe, Subscribers)
    function = values.get("function")
    if (subscribe == Subscribers.FUNCTION) != (function is not None):
        raise InvalidInput('function: is the name of the function that is asked, with subscribe "function" only')
    return RealtimeSettings(
        subscribe=Subscribers(subscribe),
        function=None if function is None else check_word("function", function),
        max_connections=_number("max_connections", values.get("max_connections"), 1, CONNECTIONS_MOST),
        max_frame_bytes=_number("max_frame_bytes", values.get("max_frame_bytes"), *FRAME_BYTES),
    )


def check_word(label: str, value: object) -> str:
    """The name of a channel or an event: one line of text. Raises InvalidInput."""
    if not isinstance(value, str) or not 1 <= len(value) <= NAME_MAX_CHARS:
        raise InvalidInput(f"{label}: must be a text of 1 to {NAME_MAX_CHARS} characters")
    if not is_storable(value) or any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in value):
        raise InvalidInput(f"{label}: must be one line of text")
    return value


def check_data(value: Any, label: str = "data") -> str:
    """What a message holds, as JSON in ASCII. Raises InvalidInput."""
    try:
        return json.dumps(bounded_json(label, value, most=MESSAGE_MAX_BYTES), separators=(",", ":"), allow_nan=False)
    except ValueError as exc:
        raise InvalidInput(f"{label}: holds a number that JSON does not have") from exc


def _number(label: str, value: object, least: int, most: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidInput(f"{label}: must be a whole number from {least} to {most}")
    return value
