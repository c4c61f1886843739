"""One turn of an agent: a visit of its node, from its first question to the model until it stops or waits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct, field

from isolet.domain.chat import Offered
from isolet.domain.flows.run_variables import assigned, check_variables
from isolet.domain.flows.templates import Rendering
from isolet.flows.performer import StepContext, StepResult

RESULT_MAX_CHARS = 65_536


class Turn(Struct, kw_only=True):
    """`variables` are the run's, as tools left them; `messages` the conversation."""

    step: StepContext
    variables: Mapping[str, Any]
    messages: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def changed(self) -> Mapping[str, Any] | None:
        """The variables for the step's result; None when they are as before."""
        return None if self.variables is self.step.spaces.vars else self.variables

    def change(self, changes: Mapping[str, Any]) -> None:
        """For a thread: the variables may be large. Raises InvalidInput when they become too large."""
        self.variables = check_variables({**self.variables, **changes})

    def assign(self, name: str, value: Any) -> None:
        """The same for one, whose name may be a path."""
        self.variables = check_variables(assigned(self.variables, name, value))

    def keep_answer(self, text: str) -> None:
        """The same for what the agent said at its end, where its node names a variable for it."""
        name = self.step.node.config.get("save_response_to")
        if isinstance(name, str) and name:
            self.assign(name, text)

    def rendering(self) -> Rendering:
        """Templates with the variables as they are now. What points nowhere is told of with the step's others."""
        spaces = {**self.step.spaces.to_json(), "vars": self.variables}
        return Rendering(spaces=spaces, env=self.step.rendering.env, missing=self.step.rendering.missing)


class ToolOutcome(Struct, frozen=True, kw_only=True):
    """What the model is told, and what is recorded besides. `ends` is the step's result when the turn is over."""

    value: Any
    is_error: bool = False
    invocation_id: str | None = None
    ends: StepResult | None = None

    def text(self) -> str:
        """For the model: text as it is, else JSON; cut where it is too long."""
        text = self.value if isinstance(self.value, str) else json.dumps(self.value, ensure_ascii=False)
        if len(text) <= RESULT_MAX_CHARS:
            return text
        return f"{text[:RESULT_MAX_CHARS]}… ({len(text) - RESULT_MAX_CHARS} more characters were cut)"


class AgentTool(Protocol):
    """`kind` is for the record. `run` gets arguments that are an object; the model is told of what it raises."""

    @property
    def kind(self) -> str: ...

    @property
    def offered(self) -> Offered: ...

    async def run(self, turn: Turn, arguments: Mapping[str, Any]) -> ToolOutcome: ...
