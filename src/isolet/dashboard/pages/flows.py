"""Workflows of a project: the list, new ones, and one with its graph."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import RedirectResponse, Response

from isolet.client.errors import Refused
from isolet.contract.executions import ExecutionStart
from isolet.contract.flows import FlowCreate, FlowDetailReply, FlowUpdate, StepPolicies
from isolet.dashboard.flow_starters import STARTERS
from isolet.dashboard.policy import INERT
from isolet.dashboard.sections import Section
from isolet.dashboard.typed_json import read_json
from isolet.dashboard.visits import Visit
from isolet.domain.access import Role
from isolet.errors import InvalidInput, NotFound

section = Section("Flows", "flows", api="GET /isolet/v1/projects/{slug}/flows")
_ONE = "GET /isolet/v1/flows/{workflow_id}"
_RUNS_SHOWN = 20
_CHANGED = ". To save yours, copy its text, open the flow again, and put the text in."


@section.get("")
async def show(visit: Visit) -> Response:
    return await _list(visit)


async def _list(visit: Visit, *, status: int = 200, error: str | None = None, name: str = "") -> Response:
    found = await visit.api.flows.list(visit.slug)
    return await visit.render(
        "flows.html", status=status, error=error, flows=found.data, starters=STARTERS, name=name, may_change=_may(visit)
    )


@section.post("")
async def create(visit: Visit, form: Mapping[str, str]) -> Response:
    starter = STARTERS.get(form.get("starter", ""))
    body = FlowCreate(name=form.get("name", ""))
    if starter is not None:
        body = FlowCreate(name=body.name, definition=starter.definition)
    try:
        made = await visit.api.flows.create(visit.slug, body)
    except Refused as exc:
        return await _list(visit, status=exc.status, error=exc.text, name=body.name)
    return visit.go("flows", made.id, done="saved")


@section.get("/{workflow_id}", api=_ONE)
async def show_one(visit: Visit) -> Response:
    return await _one(visit)


async def _one(
    visit: Visit, *, status: int = 200, error: str | None = None, typed: Mapping[str, str] | None = None
) -> Response:
    flow = await flow_of(visit)
    policies = await visit.api.flows.get_policies(flow.id)
    runs = await visit.api.executions.list(project=visit.slug, workflow=flow.id, limit=_RUNS_SHOWN)
    # In a thread: a graph may be a megabyte.
    definition, known = await asyncio.to_thread(lambda: (_pretty(flow.definition), _pretty(policies.root)))
    shown = {"definition": definition, "lock_version": str(flow.lock_version), "policies": known, "variables": "{}"}
    typed = typed or {}
    return await visit.render(
        "flow.html",
        status=status,
        error=error,
        flow=flow,
        runs=runs.data,
        more_runs=runs.next_cursor,
        shown={**shown, **typed},
        unsaved="definition" in typed,
        may_change=_may(visit),
        with_nonce=True,
    )


async def flow_of(visit: Visit) -> FlowDetailReply:
    """The workflow in the path. Raises NotFound for one of another project."""
    flow = await visit.api.flows.get(visit.request.path_params["workflow_id"])
    if (await visit.api.projects.get(visit.slug)).id != flow.project_id:
        raise NotFound("Workflow not found")
    return flow


@section.get("/{workflow_id}/graph.svg")
async def draw(visit: Visit) -> Response:
    return picture(await visit.api.flows.draw((await flow_of(visit)).id))


def picture(svg: str) -> Response:
    """An image for a page, which is nothing when it is opened by itself."""
    headers = {"content-security-policy": INERT, "cache-control": "no-store"}
    return Response(svg.encode("utf-8", "replace"), media_type="image/svg+xml", headers=headers)


@section.post("/{workflow_id}/definition")
async def save(visit: Visit, form: Mapping[str, str]) -> Response:
    text, read = form.get("definition", ""), form.get("lock_version", "")
    try:
        version = int(read)
        body = FlowUpdate(definition=await _object("The graph", text), lock_version=version)
        await visit.api.flows.update((await flow_of(visit)).id, body)
    except (Refused, InvalidInput, ValueError) as exc:
        # With the version that was read: to save the text again must not overwrite what others saved meanwhile.
        typed = {"definition": text, "lock_version": read}
        error = _said(exc) + (_CHANGED if _status(exc) == 409 else "")
        return await _one(visit, status=_status(exc), error=error, typed=typed)
    return visit.go("flows", visit.request.path_params["workflow_id"], done="saved")


@section.post("/{workflow_id}/status")
async def set_status(visit: Visit, form: Mapping[str, str]) -> Response:
    try:
        await visit.api.flows.update((await flow_of(visit)).id, FlowUpdate(status=form.get("status", "")))
    except Refused as exc:
        return await _one(visit, status=exc.status, error=exc.text)
    return visit.go("flows", visit.request.path_params["workflow_id"], done="saved")


@section.post("/{workflow_id}/policies")
async def set_policies(visit: Visit, form: Mapping[str, str]) -> Response:
    text = form.get("policies", "")
    try:
        await visit.api.flows.set_policies((await flow_of(visit)).id, StepPolicies(await _object("The policies", text)))
    except (Refused, InvalidInput) as exc:
        return await _one(visit, status=_status(exc), error=_said(exc), typed={"policies": text})
    return visit.go("flows", visit.request.path_params["workflow_id"], done="saved")


@section.post("/{workflow_id}/start")
async def start(visit: Visit, form: Mapping[str, str]) -> Response:
    text = form.get("variables", "")
    try:
        body = ExecutionStart(variables=await _object("The variables", text or "{}"))
        begun = await visit.api.executions.start(visit.slug, (await flow_of(visit)).id, body)
    except (Refused, InvalidInput) as exc:
        return await _one(visit, status=_status(exc), error=_said(exc), typed={"variables": text})
    return RedirectResponse(visit.path("runs", begun.id), 303)


@section.post("/{workflow_id}/delete")
async def delete(visit: Visit, _: Mapping[str, str]) -> Response:
    await visit.api.flows.delete((await flow_of(visit)).id)
    return visit.go("flows", done="deleted")


async def _object(label: str, text: str) -> dict[str, Any]:
    """Raises InvalidInput."""
    try:
        value = await read_json(text)
    except (ValueError, RecursionError) as exc:
        raise InvalidInput(f"{label} must be JSON: {exc}") from None
    if not isinstance(value, dict):
        raise InvalidInput(f"{label} must be an object")
    return value


def _said(error: Exception) -> str:
    if isinstance(error, Refused):
        return error.text
    return error.message if isinstance(error, InvalidInput) else "The form cannot be read"


def _status(error: Exception) -> int:
    return error.status if isinstance(error, Refused) else 422


def _may(visit: Visit) -> bool:
    return visit.principal.role.rank >= Role.DEPLOY.rank


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
