"""Triggers of a whole space: one of the type cron switches on every schedule that a function names in its options."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct

from isolet.domain.functions import check_text
from isolet.domain.json_bounds import bounded_json
from isolet.errors import RequestError
from isolet.ids import ProjectId

TRIGGERS_MAX = 50
_DESCRIPTION_MAX_CHARS = 1_000


class SpaceTriggerType(StrEnum):
    CRON = "cron"
    MQTT = "mqtt"
    RABBITMQ = "rabbitmq"


class SpaceTrigger(Struct, frozen=True, kw_only=True):
    """Only those of the type cron run here; the others are kept, and say that they do not."""

    id: str
    project_id: ProjectId
    type: SpaceTriggerType
    description: str
    config: Mapping[str, Any]
    created_at_ms: int


def check_space_trigger(value: object) -> tuple[SpaceTriggerType, str, dict[str, Any]]:
    """Type, description and config as they are sent. Raises RequestError, InvalidInput."""
    if not isinstance(value, Mapping):
        raise RequestError("the request must be a JSON object")
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in list(SpaceTriggerType):
        raise RequestError(f"type must be one of {', '.join(SpaceTriggerType)}")
    config = value.get("config", {})
    config = {} if config is None else config
    if not isinstance(config, dict):
        raise RequestError("config must be a JSON object")
    description = check_text(
        "description", value.get("description") or "", max_chars=_DESCRIPTION_MAX_CHARS, allow_empty=True
    )
    if kind == SpaceTriggerType.MQTT:
        config = {"port": 1883, **config}
    return SpaceTriggerType(kind), description, bounded_json("config", config)
