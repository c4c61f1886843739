"""Nodes at which a run waits for somebody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isolet.domain.flows.configs.checks import Config, anything, boolean, members, number, optional, text, variable_name
from isolet.errors import InvalidInput

WAIT_MIN_S, WAIT_MAX_S = 10, 604_800

_WAIT = members(
    {
        "has_timeout": boolean,
        "timeout_seconds": optional(number(WAIT_MIN_S, WAIT_MAX_S)),
        "save_response_to": optional(variable_name),
    }
)
handoff = members({"reason": optional(text()), "context_data": anything})


def wait_for_response(label: str, value: object) -> Config:
    """Raises InvalidInput."""
    config = _WAIT(label, value)
    if config.get("has_timeout") and config.get("timeout_seconds") is None:
        raise InvalidInput(f"{label}.timeout_seconds is required when has_timeout is true")
    return config


def wait_s(config: Mapping[str, Any]) -> int | None:
    """After how many seconds a wait goes on without an answer; None when it waits for ever.

    Some clients write a timeout alone. `has_timeout: false` turns one off.
    """
    seconds = config.get("timeout_seconds")
    return seconds if seconds is not None and config.get("has_timeout", True) else None
