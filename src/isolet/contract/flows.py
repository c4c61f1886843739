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


class Flows(Resource[Mode]):
    tag = "flows"

    @operation("GET", "/projects/{slug}/flows")
    def list(self, slug: str) -> Page[FlowReply]:
        """All workflows of a project, newest first."""

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
