"""Workflows and their triggers through Kapso's API, on its current base and the older one."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response
from msgspec import Struct

from isolet.api.kapso.access import DEPLOY, READ
from isolet.api.kapso.shapes import body_of, envelope
from isolet.api.kapso.workflow_shapes import (
    sent_workflow,
    trigger_object,
    with_definition,
    workflow_filter,
    workflow_object,
)
from isolet.api.reply import Json, large
from isolet.api.request import json_body
from isolet.api.rows import Granted, GrantedProject, route
from isolet.domain.flows.graph import lone_start
from isolet.flows.triggers import WorkflowTriggers
from isolet.flows.workflows import Workflows
from isolet.settings import Settings

_ONE = "/workflows/{workflow_id}"
_TRIGGER = "/triggers/{workflow_trigger_id}"
_WORKFLOW_EXAMPLE = {"workflow": {"name": "Orders", "definition": lone_start()}}
_CHANGE_EXAMPLE = {"workflow": {"status": "active", "lock_version": 0}}
_TRIGGER_EXAMPLE = {"trigger": {"trigger_type": "project_event", "event_name": "order.paid"}}
_SWITCH_EXAMPLE = {"trigger": {"active": False}}
_TRIGGERS_EXAMPLE = {"triggers": [{"trigger_type": "api_call"}]}


class WorkflowsDoor(Struct, frozen=True, kw_only=True):
    """Ids may be those of the key's project; of any for the root key."""

    workflows: Workflows
    settings: Settings

    @route("GET", "/workflows", READ)
    async def list_workflows(self, request: Request, project: GrantedProject) -> Response:
        # Whole, as the description has it: there are no pages.
        found = await self.workflows.list(project.id, workflow_filter(request.query_params))
        return await large(lambda: {"data": [workflow_object(workflow) for workflow in found]})

    @route("POST", "/workflows", DEPLOY, status_code=201, openapi_extra=body_of(_WORKFLOW_EXAMPLE))
    async def create_workflow(self, request: Request, grant: Granted) -> Response:
        values, _ = sent_workflow(await json_body(request, self.settings, grant.project.id))
        workflow = await self.workflows.create(grant.project.id, values)
        return Json({"data": workflow_object(workflow)}, status_code=201)

    @route("GET", _ONE, READ)
    async def get_workflow(self, grant: Granted, workflow_id: str) -> Response:
        return Json({"data": workflow_object(await self.workflows.get(grant.principal.project_id, workflow_id))})

    @route("PATCH", _ONE, DEPLOY, openapi_extra=body_of(_CHANGE_EXAMPLE))
    async def update_workflow(self, request: Request, grant: Granted, workflow_id: str) -> Response:
        values, lock_version = sent_workflow(await json_body(request, self.settings, grant.project.id))
        workflow = await self.workflows.update(
            grant.principal.project_id, workflow_id, values, lock_version=lock_version
        )
        return Json({"data": workflow_object(workflow)})

    @route("DELETE", _ONE, DEPLOY, status_code=204)
    async def delete_workflow(self, grant: Granted, workflow_id: str) -> Response:
        await self.workflows.delete(grant.principal.project_id, workflow_id)
        return Response(status_code=204)

    @route("GET", _ONE + "/definition", READ)
    async def get_definition(self, grant: Granted, workflow_id: str) -> Response:
        workflow = await self.workflows.get(grant.principal.project_id, workflow_id, with_graph=True)
        return await large(lambda: {"data": with_definition(workflow)})


class WorkflowTriggersDoor(Struct, frozen=True, kw_only=True):
    workflows: Workflows
    triggers: WorkflowTriggers
    settings: Settings

    @route("GET", _ONE + "/triggers", READ)
    async def list_triggers(self, grant: Granted, workflow_id: str) -> Response:
        workflow = await self.workflows.get(grant.principal.project_id, workflow_id)
        return Json({"data": [trigger_object(trigger) for trigger in await self.triggers.list(workflow)]})

    @route("POST", _ONE + "/triggers", DEPLOY, status_code=201, openapi_extra=body_of(_TRIGGER_EXAMPLE))
    async def create_trigger(self, request: Request, grant: Granted, workflow_id: str) -> Response:
        workflow = await self.workflows.get(grant.principal.project_id, workflow_id)
        sent = envelope(await json_body(request, self.settings, workflow.project_id), "trigger")
        return Json({"data": trigger_object(await self.triggers.create(workflow, sent))}, status_code=201)

    @route("PUT", _ONE + "/triggers", DEPLOY, openapi_extra=body_of(_TRIGGERS_EXAMPLE))
    async def replace_triggers(self, request: Request, grant: Granted, workflow_id: str) -> Response:
        workflow = await self.workflows.get(grant.principal.project_id, workflow_id)
        body = await json_body(request, self.settings, workflow.project_id)
        wanted: Any = body.get("triggers") if isinstance(body, dict) else None
        return Json({"data": [trigger_object(made) for made in await self.triggers.replace(workflow, wanted)]})

    @route("PATCH", _TRIGGER, DEPLOY, openapi_extra=body_of(_SWITCH_EXAMPLE))
    async def update_trigger(self, request: Request, grant: Granted, workflow_trigger_id: str) -> Response:
        trigger = await self.triggers.get(grant.principal.project_id, workflow_trigger_id)
        sent = envelope(await json_body(request, self.settings, trigger.project_id), "trigger")
        return Json({"data": trigger_object(await self.triggers.change(trigger, sent.get("active")))})

    @route("DELETE", _TRIGGER, DEPLOY, status_code=204)
    async def delete_trigger(self, grant: Granted, workflow_trigger_id: str) -> Response:
        await self.triggers.delete(await self.triggers.get(grant.principal.project_id, workflow_trigger_id))
        return Response(status_code=204)


class OlderWorkflowsDoor(Struct, frozen=True, kw_only=True):
    """What the older base calls flows; only the kapso package of PyPI asks for it."""

    workflows: WorkflowsDoor

    @route("GET", "/flows", READ)
    async def list_workflows(self, request: Request, project: GrantedProject) -> Response:
        return await self.workflows.list_workflows(request, project)

    @route("POST", "/flows", DEPLOY, status_code=201, openapi_extra=body_of(_WORKFLOW_EXAMPLE))
    async def create_workflow(self, request: Request, grant: Granted) -> Response:
        return await self.workflows.create_workflow(request, grant)

    @route("GET", "/flows/{workflow_id}", READ)
    async def get_workflow(self, grant: Granted, workflow_id: str) -> Response:
        return await self.workflows.get_workflow(grant, workflow_id)

    @route("PATCH", "/flows/{workflow_id}", DEPLOY, openapi_extra=body_of(_CHANGE_EXAMPLE))
    async def update_workflow(self, request: Request, grant: Granted, workflow_id: str) -> Response:
        return await self.workflows.update_workflow(request, grant, workflow_id)

    @route("GET", "/flows/{workflow_id}/definition", READ)
    async def get_definition(self, grant: Granted, workflow_id: str) -> Response:
        return await self.workflows.get_definition(grant, workflow_id)
