"""The node that emits an event of the project, by which other workflows may start."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from isolet.domain.flows.configs.events import check_properties
from isolet.domain.flows.templates import as_text
from isolet.flows.performer import Next, StepContext, StepResult

# Gets the step, the event's name, its properties and when it occurred, None for now.
Emit = Callable[[StepContext, str, Mapping[str, Any], str | None], Awaitable[None]]


# The name of the event that a run records of it.
EMITTED = "event_emitted"


class EmitEvent:
    def __init__(self, emit: Emit) -> None:
        self._emit = emit

    async def perform(self, step: StepContext) -> StepResult:
        name = step.node.config["event_name"]
        properties, occurred_at = await step.work(lambda: _rendered(step))
        await self._emit(step, name, properties, occurred_at or None)
        step.event(EMITTED, {"event_name": name, "properties": properties})
        return Next()


def _rendered(step: StepContext) -> tuple[dict[str, Any], str]:
    """The properties, and when it occurred; empty for now. Raises InvalidInput."""
    config, rendering = step.node.config, step.rendering
    properties = check_properties("properties", rendering.value(config.get("properties") or {}))
    return properties, rendering.text(as_text(config.get("occurred_at") or ""))
