"""What calls a function besides its owner: a class for each type of trigger, read from JSON and written to it here.

As JSON a trigger is `{type, config, enabled}`. A new type is a class here and a line in `_CLASSES`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar, Self

from msgspec import Struct, field
from msgspec.structs import replace

from isolet.domain.cron import Cron, read_cron
from isolet.domain.json_bounds import bounded_json
from isolet.errors import InvalidInput

SECRET_SHOWN = "***"  # noqa: S105 – what is shown in a secret's place
EVENT_MAX_CHARS = 200
_SECRET = "secret"  # noqa: S105 – the name of a member
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
    TriggerType.WEBHOOK: "webhooks are not accepted yet",
    TriggerType.S3_UPLOAD: "there is no object storage here",
}


class Trigger(Struct, frozen=True, kw_only=True):
    """`more` are the members of its config that have no meaning here; they are kept as they were sent.

    The fields named in `members` are the others; None stands for a member that is not there.
    """

    type: ClassVar[TriggerType]
    members: ClassVar[tuple[str, ...]] = ()

    enabled: bool = True
    more: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Mapping[str, Any], *, enabled: bool) -> Self:
        """From a config that keeps the rules."""
        known = {name: config[name] for name in cls.members if name in config}
        more = {name: value for name, value in config.items() if name not in cls.members}
        return cls(enabled=enabled, more=more, **known)

    @classmethod
    def check(cls, label: str, config: Mapping[str, Any]) -> None:
        """Raises InvalidInput for a config that breaks a rule of this type."""

    @property
    def config(self) -> dict[str, Any]:
        known = {name: getattr(self, name) for name in self.members}
        return {**{name: value for name, value in known.items() if value is not None}, **self.more}

    @property
    def fires(self) -> bool:
        return self.enabled and self.type not in NOT_FIRED

    @property
    def private(self) -> Any:
        """Its secret, whatever the type; None where it has none, and where it was taken out."""
        found = self.config.get(_SECRET, SECRET_SHOWN)
        return None if found == SECRET_SHOWN else found

    def masked(self) -> Self:
        """With `***` in the place of its secret, where it has one."""
        config = self.config
        return self.of({**config, _SECRET: SECRET_SHOWN}, enabled=self.enabled) if _SECRET in config else self

    def to_json(self) -> dict[str, Any]:
        return {"type": self.type.value, "config": self.config, "enabled": self.enabled}


class HttpTrigger(Trigger, frozen=True, kw_only=True):
    """Calls through the public route."""

    type = TriggerType.HTTP
    members = ("auth",)

    auth: HttpAuth = HttpAuth.REQUIRED

    @classmethod
    def of(cls, config: Mapping[str, Any], *, enabled: bool) -> Self:
        more = {name: value for name, value in config.items() if name != "auth"}
        return cls(enabled=enabled, more=more, auth=HttpAuth(config.get("auth", HttpAuth.REQUIRED)))

    @classmethod
    def check(cls, label: str, config: Mapping[str, Any]) -> None:
        auth = config.get("auth", HttpAuth.REQUIRED)
        if not isinstance(auth, str) or auth not in list(HttpAuth):
            raise InvalidInput(f"{label}.auth: must be one of {', '.join(HttpAuth)}")


class CronTrigger(Trigger, frozen=True, kw_only=True):
    """`timezone` is None where none was sent: then it is UTC."""

    type = TriggerType.CRON
    members = ("schedule", "timezone")

    schedule: str
    timezone: str | None = None

    @classmethod
    def check(cls, label: str, config: Mapping[str, Any]) -> None:
        zone = config.get("timezone", "UTC")
        if zone is None:
            raise InvalidInput(f"{label}.timezone: must be the name of a time zone")
        read_cron(config.get("schedule"), zone=zone, field=f"{label}.schedule", zone_field=f"{label}.timezone")

    @property
    def cron(self) -> Cron:
        return read_cron(self.schedule, zone=self.timezone)


class WebhookTrigger(Trigger, frozen=True, kw_only=True):
    """`secret` is `***` where it was taken out, to be sealed."""

    type = TriggerType.WEBHOOK
    members = ("provider", "secret")

    provider: str
    secret: str

    @classmethod
    def check(cls, label: str, config: Mapping[str, Any]) -> None:
        if config.get("provider") not in _WEBHOOK_PROVIDERS:
            raise InvalidInput(f"{label}.provider: must be one of {', '.join(_WEBHOOK_PROVIDERS)}")
        if not isinstance(config.get(_SECRET), str) or not config[_SECRET]:
            raise InvalidInput(f"{label}.secret: is required")


class WebSocketTrigger(Trigger, frozen=True, kw_only=True):
    """Events of live connections that have the name `event`; without one nothing calls the function."""

    type = TriggerType.WEBSOCKET
    members = ("event",)

    event: str | None = None

    @classmethod
    def check(cls, label: str, config: Mapping[str, Any]) -> None:
        event = config.get("event")
        if event is not None and (not isinstance(event, str) or not 1 <= len(event) <= EVENT_MAX_CHARS):
            raise InvalidInput(f"{label}.event: must be a text of 1 to {EVENT_MAX_CHARS} characters")


class S3UploadTrigger(Trigger, frozen=True, kw_only=True):
    type = TriggerType.S3_UPLOAD


_CLASSES: Mapping[str, type[Trigger]] = {
    cls.type: cls for cls in (HttpTrigger, CronTrigger, WebhookTrigger, WebSocketTrigger, S3UploadTrigger)
}


# Reading.


def check_triggers(value: object) -> tuple[Trigger, ...]:
    """Triggers from JSON, or as they are, at most one of a type. Raises InvalidInput."""
    if not isinstance(value, list | tuple) or not value:
        raise InvalidInput("triggers: must be a list of at least one trigger")
    checked = tuple(
        trigger if isinstance(trigger, Trigger) else _check(f"triggers.{place}", trigger)
        for place, trigger in enumerate(value)
    )
    types = [trigger.type for trigger in checked]
    for kind in types:
        if types.count(kind) > 1:
            raise InvalidInput(f"triggers: there may be only one {kind} trigger")
    return checked


def check_sent_triggers(value: object) -> tuple[Trigger, ...]:
    """The same of what a caller sent: bounded before it is looked at closely. What is stored may be larger."""
    if isinstance(value, list):
        if len(value) > len(TriggerType):
            raise InvalidInput("triggers: there may be only one trigger of each type")
        for place, trigger in enumerate(value):
            bounded_json(f"triggers.{place}", trigger)
    return check_triggers(value)


def stored_triggers(value: Sequence[Mapping[str, Any]]) -> tuple[Trigger, ...]:
    """Triggers from JSON that was checked before it was stored."""
    return tuple(_CLASSES[one["type"]].of(one["config"], enabled=one["enabled"]) for one in value)


def _check(label: str, value: object) -> Trigger:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{label}: must be an object")
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in _CLASSES:
        raise InvalidInput(f"{label}.type: must be one of {', '.join(TriggerType)}")
    config, enabled = value.get("config", {}), value.get("enabled", True)
    if not isinstance(config, Mapping):
        raise InvalidInput(f"{label}.config: must be an object")
    if not isinstance(enabled, bool):
        raise InvalidInput(f"{label}.enabled: must be true or false")
    _CLASSES[kind].check(f"{label}.config", config)
    return _CLASSES[kind].of(config, enabled=enabled)


# Those of a function.


def default_triggers(*, public: bool) -> tuple[Trigger, ...]:
    """Those of a function for which nobody named any."""
    return (HttpTrigger(auth=HttpAuth.NONE if public else HttpAuth.REQUIRED),)


def http_auth(triggers: Sequence[Trigger]) -> HttpAuth | None:
    """Who may call through the public route; None when the function is not to be called there."""
    return next((one.auth for one in triggers if isinstance(one, HttpTrigger) and one.enabled), None)


def socket_event(triggers: Sequence[Trigger]) -> str | None:
    """The event of live connections that calls the function, if any."""
    found = (one.event for one in triggers if isinstance(one, WebSocketTrigger) and one.enabled)
    return next((event for event in found if isinstance(event, str)), None)


def shown_triggers(triggers: Sequence[Trigger]) -> list[dict[str, Any]]:
    """As JSON by type, without secrets; what is never fired is not enabled."""
    by_type = sorted(triggers, key=lambda trigger: trigger.type.value)
    return [replace(trigger.masked(), enabled=trigger.fires).to_json() for trigger in by_type]


def trigger_warnings(triggers: Sequence[Trigger]) -> list[str]:
    """A text for each trigger that is never fired, though it was sent to be."""
    kinds = sorted(trigger.type for trigger in triggers if trigger.enabled and not trigger.fires)
    return [not_fired(kind) for kind in kinds]


def not_fired(kind: TriggerType) -> str:
    return f"the {kind.value} trigger is kept, and never fires: {NOT_FIRED[kind]}"
