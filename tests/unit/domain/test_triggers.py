import json
from typing import Any

import pytest
from msgspec.structs import replace

from isolet.domain.private_settings import part_triggers
from isolet.domain.triggers import (
    CronTrigger,
    HttpAuth,
    HttpTrigger,
    S3UploadTrigger,
    Trigger,
    TriggerType,
    WebhookTrigger,
    WebSocketTrigger,
    check_sent_triggers,
    check_triggers,
    default_triggers,
    http_auth,
    shown_triggers,
    socket_event,
    stored_triggers,
    trigger_warnings,
)
from isolet.errors import InvalidInput

ODD = {"x": "a\u2028\ud800\x00", "ключ": [1, {"deep": None}], "": False}
VALUES: list[tuple[dict[str, Any], Trigger]] = [
    ({"type": "http", "config": {"auth": "none"}}, HttpTrigger(auth=HttpAuth.NONE)),
    ({"type": "http", "config": {"auth": "optional", **ODD}}, HttpTrigger(auth=HttpAuth.OPTIONAL, more=ODD)),
    ({"type": "cron", "config": {"schedule": "*/5  * * * *"}}, CronTrigger(schedule="*/5  * * * *")),
    (
        {"type": "cron", "config": {"schedule": "0 0 * * 0", "timezone": "Asia/Tokyo", **ODD}, "enabled": False},
        CronTrigger(schedule="0 0 * * 0", timezone="Asia/Tokyo", more=ODD, enabled=False),
    ),
    (
        {"type": "webhook", "config": {"provider": "github", "secret": "s", "header": "x-sig"}},
        WebhookTrigger(provider="github", secret="s", more={"header": "x-sig"}),
    ),
    ({"type": "websocket", "config": {"event": "joined"}}, WebSocketTrigger(event="joined")),
    ({"type": "s3_upload", "config": {}}, S3UploadTrigger()),
]


@pytest.mark.parametrize(("sent", "value"), VALUES)
def test_a_trigger_is_a_value_and_is_written_as_it_was_sent(sent: dict[str, Any], value: Trigger) -> None:
    (read,) = check_sent_triggers([sent])

    written = json.loads(json.dumps(read.to_json()))
    assert read == value
    assert written == {"enabled": True, **sent}
    assert stored_triggers([written]) == check_triggers((read,)) == (value,)


def test_members_that_are_left_out_have_their_defaults() -> None:
    assert check_triggers([{"type": "http"}]) == (HttpTrigger(auth=HttpAuth.REQUIRED),)
    assert HttpTrigger().to_json() == {"type": "http", "config": {"auth": "required"}, "enabled": True}
    assert {trigger.type for _, trigger in VALUES} == set(TriggerType)


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (None, "triggers: must be a list of at least one trigger"),
        ([], "triggers: must be a list of at least one trigger"),
        ([1], "triggers.0: must be an object"),
        ([{"type": "smoke"}], "triggers.0.type: must be one of http, "),
        ([{"type": ["http"]}], "triggers.0.type: must be one of http, "),
        ([{"type": "http", "config": []}], "triggers.0.config: must be an object"),
        ([{"type": "http", "enabled": 1}], "triggers.0.enabled: must be true or false"),
        ([{"type": "http", "config": {"auth": {}}}], "triggers.0.config.auth: must be one of required, "),
        ([{"type": "http"}, {"type": "cron"}], "triggers.1.config.schedule: must be a cron expression"),
        ([{"type": "cron", "config": {"schedule": "* * * * * *"}}], "is not a cron expression: it has six fields"),
        (
            [{"type": "cron", "config": {"schedule": "* * * * *", "timezone": None}}],
            "timezone: must be the name of a time zone",
        ),
        ([{"type": "webhook", "config": {"provider": [], "secret": "s"}}], "provider: must be one of stripe, "),
        ([{"type": "webhook", "config": {"provider": "custom", "secret": ""}}], "config.secret: is required"),
        ([{"type": "s3_upload"}, {"type": "s3_upload"}], "triggers: there may be only one s3_upload trigger"),
        ([{"type": "http"}] * 6, "triggers: there may be only one trigger of each type"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_its_place(sent: object, says: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_sent_triggers(sent)
    assert says in refused.value.message


def test_what_is_stored_is_read_without_the_rules_for_what_is_sent() -> None:
    large = {"a": "x" * 100_000}

    (read,) = stored_triggers([{"type": "websocket", "config": large, "enabled": True}])

    assert read.config == large
    assert check_sent_triggers((read,)) == (read,)


def test_secrets_of_any_type_are_taken_out_and_never_shown() -> None:
    triggers = (
        WebhookTrigger(provider="custom", secret="one"),
        S3UploadTrigger(more={"secret": {"deep": "two"}}),
        HttpTrigger(),
    )

    parted, secrets = part_triggers(triggers)

    assert secrets == {"webhook": "one", "s3_upload": {"deep": "two"}}
    assert parted == (
        WebhookTrigger(provider="custom", secret="***"),
        S3UploadTrigger(more={"secret": "***"}),
        HttpTrigger(),
    )
    assert part_triggers(parted) == (parted, {})
    assert "one" not in str(shown_triggers(triggers))


def test_what_nothing_fires_is_shown_as_not_enabled() -> None:
    triggers = (S3UploadTrigger(), HttpTrigger(), WebSocketTrigger(), CronTrigger(schedule="* * * * *", enabled=False))

    assert [(shown["type"], shown["enabled"]) for shown in shown_triggers(triggers)] == [
        ("cron", False),
        ("http", True),
        ("s3_upload", False),
        ("websocket", True),
    ]
    (warning,) = trigger_warnings(triggers)
    assert warning.startswith("the s3_upload trigger is kept, and never fires: ")


def test_the_event_of_live_connections_is_that_of_an_enabled_trigger() -> None:
    assert socket_event([HttpTrigger(), WebSocketTrigger(event="say")]) == "say"
    assert socket_event([WebSocketTrigger(event="say", enabled=False)]) is None
    assert socket_event([WebSocketTrigger()]) is None
    kept = [{"type": "websocket", "config": {"event": 5}, "enabled": True}]
    assert socket_event(stored_triggers(kept)) is None
    for event in ("", 5, "x" * 201):
        with pytest.raises(InvalidInput, match=r"triggers\.0\.config\.event: must be a text"):
            check_triggers([{"type": "websocket", "config": {"event": event}}])


def test_who_may_call_is_what_the_enabled_http_trigger_says() -> None:
    assert http_auth(default_triggers(public=True)) is HttpAuth.NONE
    assert http_auth(default_triggers(public=False)) is HttpAuth.REQUIRED
    assert http_auth([replace(HttpTrigger(), enabled=False)]) is None
    assert http_auth([WebSocketTrigger()]) is None
