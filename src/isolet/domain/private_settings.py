"""What of a function's settings is sealed before it is stored: secrets of triggers, and the `env` of door settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isolet.domain.triggers import Trigger


def part_triggers(triggers: Sequence[Trigger]) -> tuple[tuple[Trigger, ...], dict[str, Any]]:
    """Triggers as they are stored, what is shown in the place of each secret; and the secrets, by type of trigger."""
    secrets = {trigger.type.value: trigger.private for trigger in triggers if trigger.private is not None}
    return tuple(trigger.masked() for trigger in triggers), secrets


def part_door_settings(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings as they are stored, and the variables."""
    return {name: value for name, value in settings.items() if name != "env"}, dict(settings.get("env") or {})
