"""Workflows, beside the routes that Kapso's clients use: step policies, pictures, events and the channel."""

from __future__ import annotations

from typing import Any

from pydantic import RootModel

from isolet.contract.models import Body, Page, Reply
from isolet.contract.operations import Mode, Resource, operation


class StepPolicies(RootModel[dict[str, Any]]):
    """By node id: `{retries?, backoff_s?, timeout_s?, on_error?, on_unknown_edge?}`.

    `on_error` is `fail`, `continue` or `{"go_to": node_id}`, `on_unknown_edge` `fail` or `first`.
    """


class Channel(Body):
    """`url` is null where none is set."""

    url: str | None


class ChannelReply(Reply):
    url: str | None


class ProjectEvent(Body):
    """`properties` are flat; `occurred_at` is in ISO 8601, now without it."""

    name: str
    properties: dict[str, Any] | None = None
    occurred_at: str | None = None


class StartedReply(Reply):
    id: str
    workflow_id: str
    tracking_id: str


class ProjectEventReply(Reply):
    """`executions` are the runs that it started."""

    id: str
    name: str
    properties: dict[str, Any]
    occurred_at: str
    executions: list[StartedReply]


class FlowReply(Reply):
    """A workflow without its graph. `status` is `draft`, `active` or `archived`."""

    id: str
    project_id: str
    name: str
    slug: str
    description: str | None
    status: str
    lock_version: int
    execution_count: int
    last_executed_at: str | None
    created_at: str
    updated_at: str


class FlowCreate(Body):
    """`definition` is a graph `{nodes, edges}` as Kapso's API has it; a lone start without it."""

    name: str
    slug: str | None = None
    description: str | None = None
    definition: dict[str, Any] | None = None


class FlowUpdate(Body):
    """Only what is sent changes. With `lock_version` a change of another meanwhile is a conflict."""

    name: str | None = None
    description: str | None = None
    status: str | None = None
    definition: dict[str, Any] | None = None
    lock_version: int | None = None


class FlowDetailReply(FlowReply):
    """With its graph."""

    definition: dict[str, Any]


class FlowCheck(Body):
    """A graph that is not saved."""

    definition: dict[str, Any]


class FlowCheckReply(Reply):
    """`faults` keep the workflow from being active, each with its node; `picture` is null where there is no graph."""

    faults: list[str]
    picture: str | None


class Flows(Resource[Mode]):
    tag = "flows"

    @operation("GET", "/projects/{slug}/flows")
    def list(self, slug: str) -> Page[FlowReply]:
        """All workflows of a project, newest first."""

    @operation("POST", "/projects/{slug}/flows", status=201)
    def create(self, slug: str, body: FlowCreate) -> FlowDetailReply:
        """A draft."""

    @operation("GET", "/flows/{workflow_id}")
    def get(self, workflow_id: str) -> FlowDetailReply:
        """A workflow with its graph."""

    @operation("PATCH", "/flows/{workflow_id}")
    def update(self, workflow_id: str, body: FlowUpdate) -> FlowDetailReply:
        """Change what is sent. Runs that are under way keep the graph that they began with."""

    @operation("DELETE", "/flows/{workflow_id}", status=204)
    def delete(self, workflow_id: str) -> None:
        """With its runs."""

    @operation("POST", "/flows/{workflow_id}/check")
    def check(self, workflow_id: str, body: FlowCheck) -> FlowCheckReply:
        """What would keep the workflow from being active with another graph, and a picture of that; changes nothing."""

    @operation("GET", "/flows/{workflow_id}/policies")
    def get_policies(self, workflow_id: str) -> StepPolicies:
        """What becomes of the steps of a workflow that fail, by node."""

    @operation("PUT", "/flows/{workflow_id}/policies")
    def set_policies(self, workflow_id: str, body: StepPolicies) -> StepPolicies:
        """In the place of all that there were. A run that is under way keeps those it began with."""

    @operation("GET", "/flows/{workflow_id}/graph.svg", media_type="image/svg+xml")
    def draw(self, workflow_id: str) -> str:
        """A picture of the graph."""

    @operation("GET", "/flows/{workflow_id}/graph.mmd", media_type="text/plain")
    def mermaid(self, workflow_id: str) -> str:
        """The graph as a flow chart of Mermaid."""

    @operation("POST", "/projects/{slug}/events", status=202)
    def emit(self, slug: str, body: ProjectEvent) -> ProjectEventReply:
        """Start the active workflows whose triggers wait for the event, all of them or none."""

    @operation("GET", "/projects/{slug}/channel")
    def get_channel(self, slug: str) -> ChannelReply:
        """Where the project's workflows send messages to."""

    @operation("PUT", "/projects/{slug}/channel")
    def set_channel(self, slug: str, body: Channel) -> ChannelReply:
        """Where nodes that send messages post them, signed."""
