"""What a workflow is beside its graph, what may start one, and the rules that their members keep.

Names and bounds are those of Kapso's API.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from isolet.domain.choices import one_of
from isolet.domain.flows.graph import Graph
from isolet.domain.flows.nodes import NodeType
from isolet.domain.functions import check_name, check_text
from isolet.errors import InvalidInput
from isolet.ids import ProjectId, TriggerId, WorkflowId

WORKFLOWS_MAX = 500
# Of all graphs of a project, as JSON.
GRAPHS_MAX_BYTES = 67_108_864
TRIGGERS_MAX = 50
SLUG_MAX_CHARS = 100
DESCRIPTION_MAX_CHARS = 10_000
DEBOUNCE_MAX_S = 300
_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


class WorkflowStatus(StrEnum):
    DRAFT = "draft"
    ACTIVE = "active"
    ARCHIVED = "archived"


class ReadMode(StrEnum):
    """What a sender of a message sees of its having come in."""

    DISABLED = "disabled"
    READ_ONLY = "read_only"
    READ_WITH_TYPING = "read_with_typing"


class Workflow(Struct, frozen=True, kw_only=True):
    """`graph` is None where it was not read: it may be large. `lock_version` grows with each change of any member.

    `agent_default_tools_version` is stored for clients that show it.
    """

    id: WorkflowId
    project_id: ProjectId
    name: str
    slug: str
    description: str | None = None
    status: WorkflowStatus = WorkflowStatus.DRAFT
    lock_version: int = 0
    graph: Graph | None = None
    message_debounce_seconds: int = 1
    inbound_message_read_mode: ReadMode = ReadMode.READ_WITH_TYPING
    agent_default_tools_version: int | None = None
    execution_count: int = 0
    last_executed_at_ms: int | None = None
    created_at_ms: int = 0
    updated_at_ms: int = 0

    @property
    def known_graph(self) -> Graph:
        """Of a workflow whose graph was read."""
        if self.graph is None:
            raise LookupError("the graph of this workflow was not read")
        return self.graph

    @property
    def definition(self) -> dict[str, Any]:
        """The graph as JSON, of a workflow whose graph was read."""
        return self.known_graph.to_json()


class TriggerType(StrEnum):
    API_CALL = "api_call"
    INBOUND_MESSAGE = "inbound_message"
    WHATSAPP_EVENT = "whatsapp_event"
    PROJECT_EVENT = "project_event"


class Trigger(Struct, frozen=True, kw_only=True):
    """What starts a workflow. `settings` are as `triggers.check_settings` makes them."""

    id: TriggerId
    project_id: ProjectId
    workflow_id: WorkflowId
    type: TriggerType
    active: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)
    created_at_ms: int = 0
    updated_at_ms: int = 0


def changed(workflow: Workflow, values: Mapping[str, Any]) -> Workflow:
    """The workflow with other members, which are as a client sends them; the graph apart. Raises InvalidInput."""
    after = workflow
    if "name" in values:
        after = replace(after, name=check_name(values["name"]))
    if "slug" in values:
        after = replace(after, slug=check_slug(values["slug"]))
    if "description" in values:
        after = replace(after, description=_description(values["description"]))
    if "status" in values:
        after = replace(after, status=WorkflowStatus(one_of("status", values["status"], WorkflowStatus)))
    if "message_debounce_seconds" in values:
        seconds = _whole("message_debounce_seconds", values["message_debounce_seconds"], DEBOUNCE_MAX_S)
        after = replace(after, message_debounce_seconds=1 if seconds is None else seconds)
    if values.get("inbound_message_read_mode") is not None:
        mode = one_of("inbound_message_read_mode", values["inbound_message_read_mode"], ReadMode)
        after = replace(after, inbound_message_read_mode=ReadMode(mode))
    if "agent_default_tools_version" in values:
        version = _whole("agent_default_tools_version", values["agent_default_tools_version"], 1_000_000)
        after = replace(after, agent_default_tools_version=version)
    return after


def check_slug(value: object) -> str:
    """Raises InvalidInput."""
    if not isinstance(value, str) or len(value) > SLUG_MAX_CHARS or _SLUG.fullmatch(value) is None:
        raise InvalidInput(
            f"slug must be lower-case words and numbers joined by -, at most {SLUG_MAX_CHARS} characters"
        )
    return value


def slug_of(name: str) -> str:
    """A slug from a name; `workflow` from a name in another alphabet."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower())[:SLUG_MAX_CHARS].strip("-") or "workflow"


def _description(value: object) -> str | None:
    if value is None:
        return None
    return check_text("description", value, max_chars=DESCRIPTION_MAX_CHARS, allow_empty=True)


def _whole(label: str, value: object, most: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise InvalidInput(f"{label} must be a whole number from 0 to {most}")
    return value


class FunctionUse(Struct, frozen=True, kw_only=True):
    """A function that a graph names, by its id or its slug."""

    node_id: str
    function_id: str | None
    slug: str | None


def functions_of(graph: Graph) -> Iterator[FunctionUse]:
    """Every function that a run may call."""
    for node in graph.nodes:
        config = node.config
        if node.kind is NodeType.FUNCTION or config.get("decision_type") == "function":
            yield _use(node.id, config)
        for tool in config.get("flow_agent_function_tools", ()):
            yield _use(node.id, tool)


def _use(node_id: str, config: Mapping[str, Any]) -> FunctionUse:
    return FunctionUse(node_id=node_id, function_id=config.get("function_id"), slug=config.get("function_slug"))


def calls_of(graph: Graph) -> dict[str, str]:
    """The workflows that a graph calls, by the nodes that do: their ids, else their slugs."""
    return {
        node.id: node.config.get("workflow_id") or node.config["workflow_slug"]
        for node in graph.nodes
        if node.kind is NodeType.CALL
    }


def nodes_with_model(graph: Graph) -> list[str]:
    """The nodes that ask a model when a run comes to them."""
    return [node.id for node in graph.nodes if _asks_model(node.kind, node.config)]


def _asks_model(kind: NodeType, config: Mapping[str, Any]) -> bool:
    if kind is NodeType.AGENT or (kind is NodeType.DECIDE and config["decision_type"] == "ai"):
        return True
    return any(value == {"$ai": {}} for value in config.values())
