from typing import Any

import pytest

from isolet.domain.flows.triggers import check_settings, check_type, is_met
from isolet.domain.flows.workflows import Trigger, TriggerType
from isolet.errors import InvalidInput
from isolet.ids import ProjectId, TriggerId, WorkflowId

NONE = {"property_key": None, "operator": None, "property_value": None}
WHEN = {"property_key": "total", "operator": "gte", "property_value": "100"}


@pytest.mark.parametrize(
    ("kind", "sent", "kept"),
    [
        ("api_call", {"event": "x"}, {}),
        ("inbound_message", {"phone_number_id": "1"}, {"phone_number_id": "1"}),
        ("whatsapp_event", {"event": "whatsapp.message.sent"}, {"event": "whatsapp.message.sent"}),
        ("project_event", {"event_name": "order.paid"}, {"event_name": "order.paid", **NONE}),
        ("project_event", {"event_name": "order.paid", **WHEN}, {"event_name": "order.paid", **WHEN}),
    ],
)
def test_each_type_keeps_its_own_members(kind: str, sent: dict[str, Any], kept: dict[str, Any]) -> None:
    assert check_settings(check_type(kind), sent) == kept


@pytest.mark.parametrize(
    ("kind", "sent", "text"),
    [
        ("inbound_message", {}, "phone_number_id is required"),
        ("inbound_message", {"phone_number_id": "\x00"}, "phone_number_id holds characters that cannot be stored"),
        ("whatsapp_event", {"event": "whatsapp.message.read"}, "event must be one of"),
        ("whatsapp_event", {"event": []}, "event must be one of"),
        ("project_event", {}, "event_name is required"),
        ("project_event", {"event_name": "Order"}, "event_name must be lower-case words"),
        ("project_event", {"event_name": "o", "operator": "eq"}, "belong together"),
        ("project_event", {"event_name": "o", **WHEN, "operator": "in"}, "operator must be one of eq, lt"),
        ("project_event", {"event_name": "o", **WHEN, "operator": {}}, "operator must be one of eq, lt"),
        ("project_event", {"event_name": "o", **WHEN, "property_value": "x"}, "must be a number for the operator gte"),
        ("project_event", {"event_name": "o", **WHEN, "property_value": True}, "must be a number"),
        ("project_event", {"event_name": "o", **WHEN, "property_value": "1e999"}, "must be a number"),
        ("project_event", {"event_name": "o", **WHEN, "property_value": 10**400}, "must be a number"),
        ("project_event", {"event_name": "o", **WHEN, "property_value": []}, "must be text, a number"),
        ("project_event", {"event_name": "o", **WHEN, "property_value": "☂" * 342}, "at most 1024 bytes"),
        ("project_event", {"event_name": "o", **WHEN, "property_key": "k" * 65}, "property_key is too long"),
    ],
)
def test_what_a_type_does_not_take_is_refused(kind: str, sent: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_settings(check_type(kind), sent)
    assert text in caught.value.message


@pytest.mark.parametrize("kind", [None, "", "cron", ["api_call"], {}])
def test_an_unknown_type_is_refused(kind: Any) -> None:
    with pytest.raises(InvalidInput, match="trigger_type must be one of api_call, inbound_message"):
        check_type(kind)


def _trigger(condition: dict[str, Any], **values: Any) -> Trigger:
    known = {"id": TriggerId("t"), "project_id": ProjectId("p"), "workflow_id": WorkflowId("w")}
    settings = {"event_name": "order.paid", **NONE, **condition}
    return Trigger(**{**known, "type": TriggerType.PROJECT_EVENT, "settings": settings, **values})


@pytest.mark.parametrize(
    ("condition", "properties", "met"),
    [
        ({}, {}, True),
        (WHEN, {"total": 100}, True),
        (WHEN, {"total": "99.5"}, False),
        (WHEN, {"total": None}, False),
        (WHEN, {"total": "many"}, False),
        (WHEN, {"total": True}, False),
        (WHEN, {}, False),
        ({**WHEN, "operator": "eq", "property_value": "VIP"}, {"total": "VIP"}, True),
        ({**WHEN, "operator": "eq", "property_value": "5"}, {"total": 5.0}, True),
        ({**WHEN, "operator": "eq", "property_value": True}, {"total": True}, True),
        ({**WHEN, "operator": "eq", "property_value": True}, {"total": 1}, False),
        ({**WHEN, "operator": "lt", "property_value": 5}, {"total": 4}, True),
        ({**WHEN, "operator": "lte", "property_value": 5}, {"total": 5}, True),
        ({**WHEN, "operator": "gt", "property_value": 5}, {"total": 5}, False),
    ],
)
def test_an_event_meets_a_trigger(condition: dict[str, Any], properties: dict[str, Any], met: bool) -> None:
    assert is_met(_trigger(condition), "order.paid", properties) is met
    assert not is_met(_trigger(condition), "order.sent", properties)
    assert not is_met(_trigger(condition, active=False), "order.paid", properties)
