"""What of a function's settings is sealed before it is stored: secrets of triggers, and the `env` of Altair's API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isolet.domain.triggers import SECRET_SHOWN


def part_triggers(triggers: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Triggers as they are stored, what is shown in the place of each secret; and the secrets, by type of trigger."""
    parted, secrets = [], {}
    for trigger in triggers:
        config = dict(trigger["config"])
        if config.get("secret", SECRET_SHOWN) != SECRET_SHOWN:
            secrets[trigger["type"]] = config["secret"]
            config["secret"] = SECRET_SHOWN
        parted.append({**trigger, "config": config})
    return parted, secrets


def part_altair(altair: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Altair's settings as they are stored, and the variables."""
    return {name: value for name, value in altair.items() if name != "env"}, dict(altair.get("env") or {})
