"""What a node type is to the engine: a performer gets the context of one step and says what follows.

A performer writes nothing itself. What it returns, the events that it recorded and the next step's job are one
transaction; when the server dies before that, the step is performed again with the same `step_key`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from msgspec import Struct, field

from isolet.clock import Clock
from isolet.domain.flows.executions import Execution, NewEvent, Spaces, Step, event_payload, step_key
from isolet.domain.flows.flow_jobs import Resumed
from isolet.domain.flows.graph import NEXT, Graph, Node
from isolet.domain.flows.policies import Policy
from isolet.domain.flows.runs import EVENTS_SHOWN
from isolet.domain.flows.templates import Rendering
from isolet.domain.flows.workflows import Workflow
from isolet.domain.invocations import storable
from isolet.ids import new_id

T = TypeVar("T")
__all__ = ["Called", "Failed", "Handoff", "Next", "Performer", "Resumed", "StepContext", "StepResult", "Wait"]


class StepContext(Struct, kw_only=True):
    """One try of one step. `past_events` are the newest of the run before it, oldest first.

    `attempt` counts from 1. `timeout_s` is what the policy leaves for this try, None when it has no bound of its own;
    the engine cancels a try that takes longer. `memory` is what the node gave to `Wait` when it waited. `turn` runs
    work on large JSON, which is what there is where `large` is set.
    """

    execution: Execution
    step: Step
    node: Node
    graph: Graph
    policy: Policy
    spaces: Spaces
    rendering: Rendering
    attempt: int
    clock: Clock
    whatsapp_context: Mapping[str, Any] | None = None
    past_events: Sequence[Mapping[str, Any]] = ()
    timeout_s: float | None = None
    resumed: Resumed | None = None
    memory: Any = None
    callers: Sequence[Mapping[str, str]] = ()
    large: bool = False
    turn: Callable[[Callable[[], Any]], Awaitable[Any]] = asyncio.to_thread
    invocation_id: str | None = None
    events: list[NewEvent] = field(default_factory=list)

    @property
    def step_key(self) -> str:
        return step_key(self.execution.id, self.node.id, self.step.visit)

    async def work(self, function: Callable[[], T]) -> T:
        """Run what renders or writes values of the step: in a thread, where its run or its settings are large."""
        if not self.large:
            return function()
        done: T = await self.turn(function)
        return done

    def event(
        self,
        name: str,
        payload: Mapping[str, Any] | None = None,
        *,
        direction: str | None = None,
        edge_label: str | None = None,
    ) -> None:
        """Record something that the step did; it is written with the step's end. `payload` is JSON, cut at 64 KiB."""
        self.events.append(
            NewEvent(
                id=new_id(),
                type=name,
                at_ms=self.clock.now_ms(),
                payload=event_payload(payload or {}),
                direction=direction,
                edge_label=None if edge_label is None else storable(edge_label),
                step_id=self.step.id,
                node_id=self.node.id,
                node_type=self.node.kind,
            )
        )

    def _recent_events(self) -> list[Mapping[str, Any]]:
        own = self.events[-EVENTS_SHOWN:]
        told = [{"event_type": event.type, "payload": json.loads(event.payload)} for event in own]
        return [*self.past_events, *told][-EVENTS_SHOWN:]

    def payload(self, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The members that every function of a workflow gets; `variables` are the run's, where they changed already."""
        spaces = self.spaces.to_json()
        if variables is not None:
            spaces["vars"] = variables
        told: dict[str, Any] = {
            "execution_context": spaces,
            "flow_info": {
                "id": self.execution.workflow_id,
                "name": self.execution.workflow_name,
                "step_id": self.node.id,
            },
            "flow_events": self._recent_events(),
        }
        if self.whatsapp_context is not None:
            told["whatsapp_context"] = self.whatsapp_context
        return told


class Next(Struct, frozen=True, kw_only=True):
    """The step is done. `variables` are all variables after it, None when they are as before.

    `label` is the edge to follow; the run ends where there is none. `skipped`: the node had nothing to do it with.
    """

    label: str = NEXT
    variables: Mapping[str, Any] | None = None
    skipped: bool = False


class Wait(Struct, frozen=True, kw_only=True):
    """The node is performed again, with `resumed`: by an answer, or after `timeout_s`. `memory` is kept JSON."""

    reason: str
    timeout_s: float | None = None
    variables: Mapping[str, Any] | None = None
    memory: Any = None


class Handoff(Struct, frozen=True, kw_only=True):
    """A person takes over. The run goes on along `next` when an operator says so."""

    variables: Mapping[str, Any] | None = None


class Failed(Struct, frozen=True, kw_only=True):
    """The try failed: the node's policy decides what follows. `final`: another try would fail as well. `fatal`: the run
    fails, whatever the policy says.

    `code` is for machines: `function_failed`, `unknown_edge`, `variables_too_large`, `timeout` and so on.
    """

    error: str
    code: str = "step_failed"
    final: bool = False
    fatal: bool = False
    variables: Mapping[str, Any] | None = None
    details: Mapping[str, Any] | None = None


class Called(Struct, frozen=True, kw_only=True):
    """A run of another workflow begins, and the node is performed again when it has ended."""

    workflow: Workflow


StepResult: TypeAlias = Next | Wait | Handoff | Failed | Called


class Performer(Protocol):
    """Does what one node type says.

    It is cancelled when the run is, when the policy's time is over, and when the server stops: what it began must end
    then. TooManyRequests and Unavailable put the try off; another IsoletError that it raises is a failed try.
    """

    async def perform(self, step: StepContext) -> StepResult: ...
