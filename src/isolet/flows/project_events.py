"""Events of a project, which start the workflows whose triggers wait for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from isolet.clock import Clock, iso, parse_iso
from isolet.database import workflow_triggers as stored
from isolet.database.connection import Connection, Database
from isolet.database.executions import count_events
from isolet.domain.flows.configs.events import check_event_name, check_properties
from isolet.domain.flows.executions import Execution
from isolet.domain.flows.triggers import is_met
from isolet.domain.flows.workflows import TriggerType
from isolet.domain.functions import check_text
from isolet.errors import InvalidInput, LimitReached
from isolet.flows.drafts import Start
from isolet.flows.performer import StepContext
from isolet.flows.performers.events import EMITTED
from isolet.flows.service import Executions
from isolet.flows.workflows import Workflows
from isolet.ids import ProjectId, WorkflowId, new_id

STARTS_MAX = 50
CONVERSATION_ID_MAX_CHARS = 256
# Of one run, as Kapso has it.
EMITTED_MAX = 10
# In the `system` of runs that an event started, and of those that they call.
_STARTED_BY = "project_event_id"


class ProjectEvent(Struct, frozen=True, kw_only=True):
    """`executions` are the runs that it started."""

    id: str
    name: str
    properties: Mapping[str, Any]
    occurred_at_ms: int
    conversation_id: str | None = None
    executions: Sequence[Execution] = ()

    def start(self) -> Start:
        """With what a run begins that the event starts, in the words of Kapso's templates."""
        event = {
            "id": self.id,
            "name": self.name,
            "properties": self.properties,
            "occurred_at": iso(self.occurred_at_ms),
        }
        context: dict[str, Any] = {"channel": TriggerType.PROJECT_EVENT.value, "event": event}
        if self.conversation_id is not None:
            context["conversation_id"] = self.conversation_id
        return Start(
            trigger=TriggerType.PROJECT_EVENT.value,
            context=context,
            system={_STARTED_BY: self.id},
        )


class ProjectEvents:
    """Events are not kept: they start runs, all of them or none."""

    def __init__(self, *, database: Database, workflows: Workflows, executions: Executions, clock: Clock) -> None:
        self._database = database
        self._workflows = workflows
        self._executions = executions
        self._clock = clock

    async def emit(
        self,
        project_id: ProjectId,
        name: object,
        properties: object,
        occurred_at: object = None,
        conversation_id: object = None,
    ) -> ProjectEvent:
        """Start every workflow with a trigger that the event meets, each once; `occurred_at` is ISO 8601, None for now.

        The runs find `conversation_id` in their context.

        Raises InvalidInput, LimitReached, TooManyRequests, and then nothing starts.
        """
        event = ProjectEvent(
            id=new_id(),
            name=check_event_name("name", name),
            properties=check_properties("properties", {} if properties is None else properties),
            occurred_at_ms=self._clock.now_ms() if occurred_at is None else _moment(occurred_at),
            conversation_id=None if conversation_id is None else _conversation(conversation_id),
        )
        drafts = []
        for workflow_id in await self._database.read(_waiting, project_id, event):
            workflow = await self._workflows.get(project_id, workflow_id, with_graph=True)
            drafts.append(await self._executions.draft(workflow, event.start()))
        return replace(event, executions=await self._executions.start_all(drafts))

    async def emit_from(
        self, step: StepContext, name: str, properties: Mapping[str, Any], occurred_at: str | None
    ) -> None:
        """An event that a step of a run emits. Runs that an event started emit none, or they would start for ever.

        Raises as `emit` does.
        """
        if step.spaces.system.get(_STARTED_BY) is not None:
            raise InvalidInput("a run that an event started cannot emit events")
        before = await self._database.read(
            partial(count_events, execution_id=step.execution.id, event_type=EMITTED, most=EMITTED_MAX)
        )
        if before + sum(event.type == EMITTED for event in step.events) >= EMITTED_MAX:
            raise InvalidInput(f"a run may emit {EMITTED_MAX} events")
        await self.emit(step.execution.project_id, name, properties, occurred_at)


def _waiting(connection: Connection, project_id: ProjectId, event: ProjectEvent) -> list[WorkflowId]:
    """The workflows that the event starts. In a thread of the database, since there may be thousands of triggers."""
    triggers = stored.triggers_for_event(connection, project_id, event.name)
    met = dict.fromkeys(one.workflow_id for one in triggers if is_met(one, event.name, event.properties))
    if len(met) > STARTS_MAX:
        raise LimitReached(f"The event would start {len(met)} workflows, and {STARTS_MAX} are the most")
    return list(met)


def _conversation(value: object) -> str:
    return check_text("conversation_id", value, max_chars=CONVERSATION_ID_MAX_CHARS)


def _moment(value: object) -> int:
    if isinstance(value, str):
        with suppress(ValueError, OverflowError):
            return parse_iso(value)
    raise InvalidInput("occurred_at must be a time such as 2027-01-31T12:00:00Z")
