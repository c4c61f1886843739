"""Nodes that need nothing from outside: `start`, `set_variable`, `wait_for_response`, `handoff`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isolet.domain.flows.configs.waits import wait_s
from isolet.domain.flows.run_variables import assigned
from isolet.domain.flows.templates import as_text
from isolet.domain.strict_json import TOO_MANY, TooManyValues, read_writable
from isolet.errors import InvalidInput
from isolet.flows.performer import Handoff, Next, StepContext, StepResult, Wait

WAITS = "wait_for_response"


class StartNode:
    async def perform(self, step: StepContext) -> StepResult:
        return Next()


class SetVariable:
    async def perform(self, step: StepContext) -> StepResult:
        return await step.work(lambda: _set(step))


def _set(step: StepContext) -> Next:
    """Raises InvalidInput."""
    config = step.node.config
    name = config["variable_name"]
    value = typed(step.rendering.value(config["variable_value"]), config.get("value_type"))
    step.event("variables_set", {"name": name, "value": value, "source": "set_variable"})
    return Next(variables=assigned(step.spaces.vars, name, value))


def typed(value: Any, value_type: str | None) -> Any:
    """The value as the type that was asked for; as it is without one. Raises InvalidInput for what cannot be that."""
    if value_type is None:
        return value
    if value_type == "string":
        return as_text(value)
    try:
        if value_type == "json":
            return read_writable(value) if isinstance(value, str) else value
        if value_type == "boolean":
            return value if isinstance(value, bool) else _BOOLEANS[as_text(value).strip().lower()]
        return _number(value)
    except TooManyValues as exc:
        raise InvalidInput(f"variable_value {TOO_MANY}") from exc
    except (ValueError, KeyError, RecursionError) as exc:
        raise InvalidInput(f"variable_value {as_text(value)[:80]!r} is no {value_type}") from exc


_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}


def _number(value: Any) -> int | float:
    """Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    text = as_text(value).strip()
    if len(text) > _DIGITS_MAX:
        raise ValueError("too many digits")
    try:
        return int(text)
    except ValueError:
        number = float(text)
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError("not finite")
    return number


_DIGITS_MAX = 300


class WaitForResponse:
    async def perform(self, step: StepContext) -> StepResult:
        config, resumed = step.node.config, step.resumed
        if resumed is None:
            seconds = wait_s(config)
            return Wait(reason=WAITS, timeout_s=None if seconds is None else float(seconds))
        if resumed.reason == "timeout":
            step.event("wait_timeout", {"timeout_seconds": wait_s(config)})
            return Next()
        if resumed.reason != "user_input":
            return Next()
        answer = input_of(resumed.message)
        variables = assigned(step.spaces.vars, "last_user_input", answer)
        if name := config.get("save_response_to"):
            variables = assigned(variables, name, answer)
        return Next(variables=variables)


def input_of(message: Any) -> Any:
    """The data of an answer as it came; the text of one that is a message."""
    if not isinstance(message, Mapping):
        return message
    data = message.get("data")
    if message.get("kind") in ("message", "text") and isinstance(data, Mapping):
        text = data.get("text", data.get("content"))
        return text if isinstance(text, str) else data
    return data


class HandoffNode:
    """A person takes over; when an operator lets the run go on, it does so along `next`."""

    async def perform(self, step: StepContext) -> StepResult:
        if step.resumed is not None:
            return Next()
        await step.work(lambda: _tell_handoff(step))
        return Handoff()


def _tell_handoff(step: StepContext) -> None:
    config = step.node.config
    told = {
        "reason": step.rendering.text(config["reason"]) if config.get("reason") else None,
        "context_data": step.rendering.value(config.get("context_data")),
    }
    step.event("handoff_requested", told)
