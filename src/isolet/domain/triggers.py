"""What calls a function besides its owner, and the rules of its triggers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from isolet.domain.json_bounds import bounded_json
from isolet.errors import InvalidInput

AGENT_DESCRIPTION_MAX_CHARS = 500
SECRET_SHOWN = "***"  # noqa: S105 – what is shown in a secret's place
AGENT_DEFAULTS: Mapping[str, Any] = {
    "agent_tool": False,
    "agent_tool_description": None,
    "agent_tool_mode": "read_only",
    "agent_tool_exposed_to": "developer_only",
    "allow_service_key_impersonation": True,
}
_CHOICES = {
    "agent_tool_mode": ("read_only", "read_write"),
    "agent_tool_exposed_to": ("developer_only", "end_user"),
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WEBHOOK_PROVIDERS = ("stripe", "github", "custom")


class TriggerType(StrEnum):
    HTTP = "http"
    CRON = "cron"
    S3_UPLOAD = "s3_upload"
    WEBHOOK = "webhook"
    WEBSOCKET = "websocket"


class HttpAuth(StrEnum):
    """Who may call through the public route."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    NONE = "none"


# What nothing here fires yet, and why. A trigger of such a type is kept as it was sent, and shown as not enabled.
NOT_FIRED: Mapping[TriggerType, str] = {
    TriggerType.CRON: "schedules are not run yet",
    TriggerType.WEBHOOK: "webhooks are not accepted yet",
    TriggerType.WEBSOCKET: "there is no realtime connection yet",
    TriggerType.S3_UPLOAD: "there is no object storage here",
}


def check_triggers(value: object) -> list[dict[str, Any]]:
    """The triggers in full, `{type, config, enabled}`, at most one of a type. Raises InvalidInput."""
    if not isinstance(value, list) or not value:
        raise InvalidInput("triggers: must be a list of at least one trigger")
    checked = [_check(place, trigger) for place, trigger in enumerate(value)]
    types = [trigger["type"] for trigger in checked]
    for kind in types:
        if types.count(kind) > 1:
            raise InvalidInput(f"triggers: there may be only one {kind} trigger")
    return checked


def check_sent_triggers(value: object) -> list[dict[str, Any]]:
    """The same of what a caller sent: bounded before it is looked at closely. What is stored may be larger."""
    if isinstance(value, list):
        if len(value) > len(TriggerType):
            raise InvalidInput("triggers: there may be only one trigger of each type")
        for place, trigger in enumerate(value):
            bounded_json(f"triggers.{place}", trigger)
    return check_triggers(value)


def check_agent(value: object) -> dict[str, Any]:
    """All members of `AGENT_DEFAULTS`. Raises InvalidInput."""
    if not isinstance(value, Mapping):
        raise InvalidInput("agent: must be an object")
    settings = {**AGENT_DEFAULTS, **value}
    for name in ("agent_tool", "allow_service_key_impersonation"):
        if not isinstance(settings[name], bool):
            raise InvalidInput(f"{name}: must be true or false")
    for name, choices in _CHOICES.items():
        if settings[name] not in choices:
            raise InvalidInput(f"{name}: must be one of {', '.join(choices)}")
    text = settings["agent_tool_description"]
    if text is not None and (not isinstance(text, str) or len(text) > AGENT_DESCRIPTION_MAX_CHARS):
        raise InvalidInput(f"agent_tool_description: must be at most {AGENT_DESCRIPTION_MAX_CHARS} characters")
    return settings


def default_triggers(*, public: bool) -> list[dict[str, Any]]:
    """Those of a function for which nobody named any."""
    auth = HttpAuth.NONE if public else HttpAuth.REQUIRED
    return [{"type": TriggerType.HTTP.value, "config": {"auth": auth.value}, "enabled": True}]


def shown_triggers(triggers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """By type, without the secrets of webhooks; what is never fired is not enabled."""
    shown = [dict(trigger) for trigger in sorted(triggers, key=lambda trigger: str(trigger["type"]))]
    for trigger in shown:
        trigger["enabled"] = trigger["enabled"] and trigger["type"] not in NOT_FIRED
        if "secret" in trigger["config"]:
            trigger["config"] = {**trigger["config"], "secret": SECRET_SHOWN}
    return shown


def trigger_warnings(triggers: Sequence[Mapping[str, Any]]) -> list[str]:
    """A text for each trigger that is never fired, though it was sent to be."""
    kinds = sorted(trigger["type"] for trigger in triggers if trigger["enabled"] and trigger["type"] in NOT_FIRED)
    return [not_fired(TriggerType(kind)) for kind in kinds]


def not_fired(kind: TriggerType) -> str:
    return f"the {kind.value} trigger is kept, and never fires: {NOT_FIRED[kind]}"


def http_auth(triggers: Sequence[Mapping[str, Any]]) -> HttpAuth | None:
    """Who may call through the public route; None when the function is not to be called there."""
    for trigger in triggers:
        if trigger["type"] == TriggerType.HTTP and trigger["enabled"]:
            return HttpAuth(trigger["config"]["auth"])
    return None


def _check(place: int, value: object) -> dict[str, Any]:
    label = f"triggers.{place}"
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{label}: must be an object")
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in list(TriggerType):
        raise InvalidInput(f"{label}.type: must be one of {', '.join(TriggerType)}")
    config, enabled = value.get("config", {}), value.get("enabled", True)
    if not isinstance(config, Mapping):
        raise InvalidInput(f"{label}.config: must be an object")
    if not isinstance(enabled, bool):
        raise InvalidInput(f"{label}.enabled: must be true or false")
    rule = _RULES.get(TriggerType(kind))
    checked = rule(label, dict(config)) if rule is not None else dict(config)
    return {"type": kind, "config": checked, "enabled": enabled}


def _check_http(label: str, config: dict[str, Any]) -> dict[str, Any]:
    auth = config.setdefault("auth", HttpAuth.REQUIRED.value)
    if not isinstance(auth, str) or auth not in list(HttpAuth):
        raise InvalidInput(f"{label}.config.auth: must be one of {', '.join(HttpAuth)}")
    return config


def _check_cron(label: str, config: dict[str, Any]) -> dict[str, Any]:
    schedule, zone = config.get("schedule"), config.get("timezone", "UTC")
    try:
        if not isinstance(schedule, str) or len(schedule.split()) != 5:
            raise CronSimError("it has not five fields")
        CronSim(schedule, _EPOCH)
    except CronSimError as exc:
        raise InvalidInput(f"{label}.config.schedule: {schedule!r} is no cron expression: {exc}") from exc
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError) as exc:
        raise InvalidInput(f"{label}.config.timezone: {zone!r} is no time zone") from exc
    return config


def _check_webhook(label: str, config: dict[str, Any]) -> dict[str, Any]:
    if config.get("provider") not in _WEBHOOK_PROVIDERS:
        raise InvalidInput(f"{label}.config.provider: must be one of {', '.join(_WEBHOOK_PROVIDERS)}")
    if not isinstance(config.get("secret"), str) or not config["secret"]:
        raise InvalidInput(f"{label}.config.secret: is required")
    return config


_RULES = {
    TriggerType.HTTP: _check_http,
    TriggerType.CRON: _check_cron,
    TriggerType.WEBHOOK: _check_webhook,
}
