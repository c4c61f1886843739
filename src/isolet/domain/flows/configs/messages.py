"""Nodes that send a message."""

from __future__ import annotations

from collections.abc import Mapping

from isolet.domain.flows.configs.checks import (
    AI,
    Check,
    ai_text,
    anything,
    choice,
    json_or_text,
    list_of,
    members,
    number,
    optional,
    text,
)

_TO: Mapping[str, Check] = {
    "phone_number_id": optional(text(256)),
    "whatsapp_config_id": anything,
    "to_phone_number": optional(text(256)),
}
_BUTTON = members({"id": text(256), "title": text(20)}, ("id", "title"))
_ROW = members({"id": text(200), "title": text(24), "description": optional(text(72))}, ("id", "title"))
_SECTION = members({"title": optional(text(256)), "rows": list_of(_ROW, 10)}, ("rows",))

send_text = members(
    {"message": ai_text(), "delay_seconds": optional(number(0, 86_400, whole=False)), **_TO, **AI}, ("message",)
)
send_template = members(
    {
        "template_id": text(256, empty=False),
        "template_name": optional(text(512)),
        "parameters": json_or_text,
        "template_params": json_or_text,
        "delay_seconds": optional(number(0, 86_400, whole=False)),
        **_TO,
        **AI,
    },
    ("template_id",),
)
send_interactive = members(
    {
        "interactive_type": choice(
            *("button", "list", "cta_url", "flow", "product", "product_list"),
            *("catalog_message", "location_request_message"),
        ),
        "body_text": ai_text(1_024),
        "footer_text": optional(ai_text(1_024)),
        "header_type": optional(choice("none", "text", "image", "video", "document")),
        "header_text": optional(ai_text(1_024)),
        "header_media_url": optional(ai_text(8_192)),
        "header_config": anything,
        "action_config": anything,
        "buttons": list_of(_BUTTON, 3),
        "list_button_text": optional(ai_text(1_024)),
        "list_sections": list_of(_SECTION, 10),
        "cta_display_text": optional(ai_text(256)),
        "cta_url": optional(ai_text(8_192)),
        "flow_id": optional(text(256)),
        "flow_cta": optional(ai_text(256)),
        "flow_token": optional(text(1_024)),
        "flow_action": optional(choice("navigate", "data_exchange")),
        "flow_action_payload": json_or_text,
        "delay_seconds": optional(number(0, 86_400, whole=False)),
        **_TO,
        **AI,
    },
    ("interactive_type", "body_text"),
)
