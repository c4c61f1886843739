"""The native API of workflows, beside Kapso's: step policies, pictures, and where messages go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import Response
from msgspec import Struct

from isolet.access.rules import Access, PathOwned, PathSlug
from isolet.api.native.serving import page, serve
from isolet.api.reply import large
from isolet.api.rows import GrantedProject
from isolet.clock import iso
from isolet.contract.flows import (
    Channel,
    ChannelReply,
    FlowCheck,
    FlowCheckReply,
    FlowCreate,
    FlowDetailReply,
    FlowReply,
    Flows,
    FlowUpdate,
    ProjectEvent,
    ProjectEventReply,
    StartedReply,
    StepPolicies,
)
from isolet.database.owners import Owned
from isolet.domain.access import Role
from isolet.domain.flows.mermaid import mermaid
from isolet.domain.flows.picture import draw
from isolet.domain.flows.policies import read_policies
from isolet.domain.flows.workflows import Workflow
from isolet.flows.channels import Channels
from isolet.flows.policies import WorkflowPolicies
from isolet.flows.project_events import ProjectEvents
from isolet.flows.workflows import Workflows

_CHANGE = Access(Role.DEPLOY, PathOwned(Owned.WORKFLOW, parameter="workflow_id", missing="Workflow not found"))
_READ = _CHANGE.for_readers()
_LIST = Access(Role.DEPLOY, PathSlug()).for_readers()
_ADMIN = Access(Role.ADMIN, PathSlug())
# Texts of a workflow's author are texts in a picture; this holds if one of them should not be.
_PICTURE_HEADERS = {"content-security-policy": "default-src 'none'; sandbox", "x-content-type-options": "nosniff"}


class FlowsDoor(Struct, frozen=True, kw_only=True):
    workflows: Workflows
    policies: WorkflowPolicies
    channels: Channels
    events: ProjectEvents

    @serve(Flows.list, _LIST)
    async def list_workflows(self, project: GrantedProject) -> Response:
        """All workflows of a project, newest first."""
        return await page(_flow_reply, await self.workflows.list(project.id), None)

    @serve(Flows.create, Access(Role.DEPLOY, PathSlug()))
    async def create_workflow(self, project: GrantedProject, body: FlowCreate) -> Response:
        """A draft."""
        return await _detail(await self.workflows.create(project.id, body.to_json()), 201)

    @serve(Flows.get, _READ)
    async def get_workflow(self, workflow_id: str) -> Response:
        """A workflow with its graph."""
        return await _detail(await self.workflows.get(None, workflow_id, with_graph=True))

    @serve(Flows.update, _CHANGE)
    async def update_workflow(self, workflow_id: str, body: FlowUpdate) -> Response:
        """Change what is sent. Runs that are under way keep the graph that they began with."""
        values = {name: value for name, value in body.to_json().items() if name != "lock_version"}
        await self.workflows.update(None, workflow_id, values, lock_version=body.lock_version)
        return await self.get_workflow(workflow_id)

    @serve(Flows.delete, _CHANGE)
    async def delete_workflow(self, workflow_id: str) -> None:
        """With its runs."""
        await self.workflows.delete(None, workflow_id)

    @serve(Flows.check, _READ)
    async def check_workflow(self, workflow_id: str, body: FlowCheck) -> Response:
        """What would keep the workflow from being active with another graph, and a picture of that; changes nothing."""
        workflow = await self.workflows.get(None, workflow_id)
        faults, graph = await self.workflows.faults(workflow, body.definition)

        def shape() -> Any:
            shown = None if graph is None else draw(graph, title=workflow.name)
            return FlowCheckReply(faults=list(faults), picture=shown).to_json()

        return await large(shape)

    @serve(Flows.get_policies, _READ)
    async def get_policies(self, workflow_id: str) -> Response:
        found = await self.policies.get(workflow_id)
        return await large(lambda: found)

    @serve(Flows.set_policies, _CHANGE)
    async def set_policies(self, workflow_id: str, body: StepPolicies) -> Response:
        """In the place of all that there were. A run that is under way keeps those it began with."""
        kept = await self.policies.put(workflow_id, body.root)
        return await large(lambda: kept)

    @serve(Flows.draw, _READ)
    async def draw_workflow(self, workflow_id: str) -> Response:
        """A picture of the graph."""
        workflow = await self.workflows.get(None, workflow_id, with_graph=True)
        policies = await self.policies.get(workflow_id)
        return await picture(lambda: draw(workflow.known_graph, title=workflow.name, policies=read_policies(policies)))

    @serve(Flows.mermaid, _READ)
    async def describe_workflow(self, workflow_id: str) -> Response:
        """The graph as a flow chart of Mermaid."""
        workflow = await self.workflows.get(None, workflow_id, with_graph=True)
        policies = await self.policies.get(workflow_id)
        text = await asyncio.to_thread(lambda: mermaid(workflow.known_graph, read_policies(policies)).encode())
        return Response(text, media_type="text/plain", headers=_PICTURE_HEADERS)

    @serve(Flows.emit, Access(Role.INVOKE, PathSlug()))
    async def emit_event(self, project: GrantedProject, body: ProjectEvent) -> ProjectEventReply:
        """Start the active workflows whose triggers wait for the event, all of them or none."""
        event = await self.events.emit(project.id, body.name, body.properties, body.occurred_at)
        started = [
            StartedReply(id=one.id, workflow_id=one.workflow_id, tracking_id=one.tracking_id)
            for one in event.executions
        ]
        return ProjectEventReply(
            id=event.id,
            name=event.name,
            properties=dict(event.properties),
            occurred_at=iso(event.occurred_at_ms),
            executions=started,
        )

    @serve(Flows.get_channel, _ADMIN)
    async def get_channel(self, project: GrantedProject) -> ChannelReply:
        return ChannelReply(url=await self.channels.get(project.id))

    @serve(Flows.set_channel, _ADMIN)
    async def set_channel(self, project: GrantedProject, body: Channel) -> ChannelReply:
        """Where nodes that send messages post them, signed."""
        return ChannelReply(url=await self.channels.put(project.id, body.url))


def _flow_reply(workflow: Workflow) -> FlowReply:
    return FlowReply(
        id=workflow.id,
        project_id=workflow.project_id,
        name=workflow.name,
        slug=workflow.slug,
        description=workflow.description,
        status=workflow.status,
        lock_version=workflow.lock_version,
        execution_count=workflow.execution_count,
        last_executed_at=None if workflow.last_executed_at_ms is None else iso(workflow.last_executed_at_ms),
        created_at=iso(workflow.created_at_ms),
        updated_at=iso(workflow.updated_at_ms),
    )


async def _detail(workflow: Workflow, status: int = 200) -> Response:
    def shape() -> Any:
        return FlowDetailReply(**_flow_reply(workflow).to_json(), definition=workflow.definition).to_json()

    return await large(shape, status)


async def picture(make: Callable[[], str]) -> Response:
    """An SVG document, made in a thread."""
    svg = await asyncio.to_thread(lambda: make().encode())
    return Response(svg, media_type="image/svg+xml", headers=_PICTURE_HEADERS)
