"""One run of a workflow: its steps beside the path that it took, and what can be done about it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.responses import Response

from isolet.contract.executions import ExecutionDetailReply, ExecutionRetry
from isolet.dashboard.pages.flows import picture
from isolet.dashboard.sections import Section
from isolet.dashboard.typed_json import TooManyValues, read_json
from isolet.dashboard.visits import Visit
from isolet.domain.access import Role
from isolet.errors import InvalidInput, NotFound

section = Section("", "runs", api="GET /isolet/v1/executions/{id}", under="Flows")
_STATUSES = ("running", "waiting", "handoff", "ended", "failed")
_EVENTS_SHOWN = 50
_KAPSO = "/platform/v1/workflow_executions/"
_REPLY_MAX_BYTES = 16 * 1024 * 1024
_OVER = frozenset({"ended", "failed"})


@section.get("", api="GET /isolet/v1/executions?project={slug}")
async def show(visit: Visit) -> Response:
    status = visit.query.get("status")
    wanted = status if status in _STATUSES else None
    found = await visit.api.executions.list(
        project=visit.slug, status=wanted, workflow=visit.query.get("workflow"), cursor=visit.query.get("cursor")
    )
    return await visit.render(
        "runs.html", runs=found.data, next_cursor=found.next_cursor, wanted=wanted, statuses=_STATUSES
    )


@section.get("/{execution_id}")
async def show_one(visit: Visit) -> Response:
    return await _one(visit)


async def _one(visit: Visit, *, status: int = 200, error: str | None = None) -> Response:
    run = await _run_of(visit)
    return await visit.render(
        "run.html",
        status=status,
        error=error,
        run=run,
        events=(await _kapso(visit, "GET", f"{run.id}/events?limit={_EVENTS_SHOWN}"))["data"],
        over=run.status in _OVER,
        may_change=visit.principal.role.rank >= Role.DEPLOY.rank,
    )


async def _kapso(visit: Visit, method: str, path: str, body: Any = None) -> Any:
    """What Kapso's routes of runs alone have: events, and answers. Raises InvalidInput with the text of an error."""
    content = b"" if body is None else json.dumps(body).encode()
    headers = [] if body is None else [(b"content-type", b"application/json")]
    answer = await visit.api.send(method, _KAPSO + path, headers, content, most=_REPLY_MAX_BYTES)
    told = await asyncio.to_thread(json.loads, bytes(answer.body))
    if answer.status >= 400:
        raise InvalidInput(str(told.get("error")))
    return told


@section.post("/{execution_id}/answer")
async def answer(visit: Visit, form: Mapping[str, str]) -> Response:
    """JSON is passed on as it is, any other text as text."""
    run, text = await _run_of(visit), form.get("answer", "")
    try:
        data = await read_json(text)
    except TooManyValues as exc:
        return await _one(visit, status=422, error=f"The answer cannot be read: {exc}")
    except (ValueError, RecursionError):
        data = text
    try:
        await _kapso(visit, "POST", f"{run.id}/resume", {"message": {"data": data}})
    except InvalidInput as exc:
        return await _one(visit, status=422, error=exc.message)
    return visit.go("runs", run.id, done="asked")


async def _run_of(visit: Visit) -> ExecutionDetailReply:
    """The run in the path. Raises NotFound for one of another project."""
    run = await visit.api.executions.get(visit.request.path_params["execution_id"])
    if (await visit.api.projects.get(visit.slug)).id != run.project_id:
        raise NotFound("Execution not found")
    return run


@section.get("/{execution_id}/graph.svg")
async def draw(visit: Visit) -> Response:
    return picture(await visit.api.executions.draw((await _run_of(visit)).id))


def _changing(path: str, change: Callable[[Visit, str, Mapping[str, str]], Awaitable[object]]) -> None:
    @section.post(f"/{{execution_id}}/{path}")
    async def handle(visit: Visit, form: Mapping[str, str]) -> Response:
        run = await _run_of(visit)
        await change(visit, run.id, form)
        return visit.go("runs", run.id, done="asked")


_changing("pause", lambda visit, run_id, _: visit.api.executions.pause(run_id))
_changing("resume", lambda visit, run_id, _: visit.api.executions.resume(run_id))
_changing("cancel", lambda visit, run_id, _: visit.api.executions.cancel(run_id))
_changing("retry", lambda visit, run_id, form: visit.api.executions.retry(run_id, _retry(form)))


def _retry(form: Mapping[str, str]) -> ExecutionRetry:
    return ExecutionRetry(from_=form.get("from") or None, graph="latest" if "latest" in form else "snapshot")
