"""Nodes that choose an edge."""

from __future__ import annotations

from collections import Counter

from isolet.domain.flows.configs.checks import (
    FUNCTION,
    MODEL,
    Config,
    an_object,
    choice,
    list_of,
    members,
    number,
    optional,
    text,
    uuid,
)
from isolet.errors import InvalidInput

CONDITIONS_MAX = 50

_CONDITION = members(
    {"id": optional(uuid), "label": text(256, empty=False), "description": optional(text())}, ("label",)
)
_DECIDE = members(
    {
        "decision_type": choice("ai", "function"),
        "conditions": list_of(_CONDITION, CONDITIONS_MAX),
        "llm_configuration": an_object,
        "llm_temperature": optional(number(0, 2, whole=False)),
        "llm_max_tokens": optional(number(1, 1_000_000)),
        **FUNCTION,
        **MODEL,
    },
    ("conditions",),
)


def decide(label: str, value: object) -> Config:
    """With the members that have a default. Raises InvalidInput."""
    config = _DECIDE(label, value)
    config.setdefault("decision_type", "ai")
    config.setdefault("llm_configuration", {})
    if config["decision_type"] == "function" and not (config.get("function_id") or config.get("function_slug")):
        raise InvalidInput(f"{label}.function_id is required")
    labels = [condition["label"] for condition in config["conditions"]]
    if not labels:
        raise InvalidInput(f"{label}.conditions must have at least one condition")
    for name, count in Counter(labels).items():
        if count > 1:
            raise InvalidInput(f"{label}.conditions: two conditions have the label {name!r}")
    return config
