"""Runs of workflows."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from isolet.contract.models import Body, Page, Reply
from isolet.contract.operations import Mode, Resource, operation


class ExecutionRetry(Body):
    """`from` is the id of the node to begin at, the last one without it; `graph` the one to go on with."""

    model_config = ConfigDict(populate_by_name=True)

    from_: str | None = Field(default=None, alias="from")
    graph: Literal["snapshot", "latest"] = "snapshot"


class ExecutionStart(Body):
    """What the run begins with: `variables`, and `context`."""

    variables: dict[str, Any] | None = None
    context: dict[str, Any] | None = None


class StepReply(Reply):
    """One visit of a node. `superseded`: a retry of the run began before it."""

    node_id: str
    node_type: str
    visit: int
    status: str
    attempts: int
    started_at: str
    ended_at: str | None
    invocation_id: str | None
    error: str | None
    edge_label: str | None
    superseded: bool


class ExecutionReply(Reply):
    """`node_id` is where the run is, or ended; `error` says why it failed: `{message, code, node_id, step_id}`.

    `pause` is null, `asked` while the step that runs may end, or `parked`.
    """

    id: str
    project_id: str
    workflow_id: str
    workflow_name: str
    status: str
    waiting_reason: str | None
    pause: str | None
    trigger: str
    tracking_id: str
    parent_id: str | None
    node_id: str | None
    error: Any
    started_at: str
    last_event_at: str
    ended_at: str | None


class ExecutionDetailReply(ExecutionReply):
    """`execution_context` is what the run knows: `{vars, system, context, metadata}`."""

    execution_context: dict[str, Any]
    steps: list[StepReply]


class Executions(Resource[Mode]):
    tag = "flows"

    @operation("GET", "/executions")
    def list(
        self,
        *,
        project: str | None = None,
        workflow: str | None = None,
        status: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[ExecutionReply]:
        """Newest first. `workflow` is an id or a slug."""

    @operation("POST", "/projects/{slug}/flows/{workflow_id}/executions", status=202)
    def start(self, slug: str, workflow_id: str, body: ExecutionStart) -> ExecutionReply:
        """Start a run of an active workflow; `workflow_id` is its id or slug."""

    @operation("GET", "/executions/{execution_id}")
    def get(self, execution_id: str) -> ExecutionDetailReply:
        """A run with its steps, in the order in which they were made."""

    @operation("GET", "/executions/{execution_id}/graph.svg", media_type="image/svg+xml")
    def draw(self, execution_id: str) -> str:
        """A picture of the graph that the run keeps, with the path that it took."""

    @operation("POST", "/executions/{execution_id}/retry", status=202)
    def retry(self, execution_id: str, body: ExecutionRetry | None = None) -> ExecutionReply:
        """Let a run that has ended go on from one of its steps; the results before that are kept."""

    @operation("POST", "/executions/{execution_id}/pause", status=202)
    def pause(self, execution_id: str) -> ExecutionReply:
        """The step that runs ends, and no other begins."""

    @operation("POST", "/executions/{execution_id}/resume", status=202)
    def resume(self, execution_id: str) -> ExecutionReply:
        """End a pause, or let a run go on that was handed over."""

    @operation("POST", "/executions/{execution_id}/cancel", status=202)
    def cancel(self, execution_id: str) -> ExecutionReply:
        """End a run, with the call that it makes now."""
