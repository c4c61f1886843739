"""The management routes of the Butterbase Functions API under `/v1/{app_id}`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

from fastapi import Request, Response
from msgspec import Struct

from isolet.access.authorization import Authorizer
from isolet.api.butterbase import shapes
from isolet.api.butterbase.access import DEPLOY, READ
from isolet.api.butterbase.log import LOG_MAX, LogStream
from isolet.api.log_streams import LogStreamResponse
from isolet.api.reply import Json, large, streamed
from isolet.api.request import json_body, public_base
from isolet.api.rows import Granted, GrantedProject, route
from isolet.clock import Clock, iso, parse_iso
from isolet.domain.agents import AGENT_DEFAULTS
from isolet.domain.functions import Function
from isolet.domain.metrics import Summary
from isolet.domain.projects import Project
from isolet.errors import InvalidInput, NotFound
from isolet.functions.environment import Environments
from isolet.functions.publisher import Publisher
from isolet.functions.service import Functions
from isolet.ids import FunctionId
from isolet.observe.call_history import CallHistory
from isolet.observe.tail import Tail
from isolet.observe.usage_stats import UsageStats
from isolet.routing.routes import Routes
from isolet.settings import Settings

_LOG_LIMIT = 100
_BATCH = 50


class ButterbaseFunctions(Struct, frozen=True, kw_only=True):
    """Names may hold slashes, so the routes with more behind a name come before those that end with it."""

    authorizer: Authorizer
    routes: Routes
    functions: Functions
    publisher: Publisher
    environments: Environments
    records: CallHistory
    metrics: UsageStats
    tail: Tail
    settings: Settings
    clock: Clock

    @route("POST", "/functions", DEPLOY)
    async def deploy_function(self, request: Request, grant: Granted, app_id: str) -> Response:
        release = shapes.release(await json_body(request, self.settings, grant.project.id))
        function = await self.publisher.publish(grant.project.id, release, created_by_id=grant.principal.key_id)
        return Json(shapes.deployed_object(function, public_base(request, self.settings), app_id))

    @route("GET", "/functions", READ)
    async def list_functions(self, request: Request, project: GrantedProject, app_id: str) -> Response:
        base = public_base(request, self.settings)
        return streamed("functions", partial(_listed, base, app_id), self._by_name(project))

    @route("GET", "/functions/{name:path}/logs", READ)
    async def list_logs(self, request: Request, project: GrantedProject, name: str) -> Response:
        function_id = await self._logged(request, project, name)
        limit, since_ms, failed = _log_query(request)
        found = await self.records.log_ids(function_id, limit=limit + 1, after_ms=since_ms, failed=failed)
        calls = self.records.log(function_id, found[:limit])
        return streamed("logs", shapes.log_entry, calls, {"hasMore": len(found) > limit})

    @route("GET", "/functions/{name:path}/logs/stream", READ)
    async def stream_logs(self, request: Request, grant: Granted, name: str) -> Response:
        project = grant.project
        function = await self.publisher.find(project.id, name)
        _, since_ms, failed = _log_query(request)
        resumed = request.headers.get("last-event-id")
        if resumed:
            since_ms = _since(resumed, "Last-Event-ID")
        start_ms = self.clock.now_ms() if since_ms is None else since_ms
        headers = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
        allowed = partial(self.authorizer.still, grant, request.scope)
        events = self._stream().events(function.id, start_ms=start_ms, failed=failed, allowed=allowed)
        most = self.routes.limits_of(project.id).log_streams
        return LogStreamResponse(events, tail=self.tail, project_id=project.id, most=most, headers=headers)

    @route("GET", "/functions/{name:path}", READ)
    async def get_function(self, request: Request, project: GrantedProject, app_id: str, name: str) -> Response:
        function = await self.publisher.find(project.id, name, with_code=True)
        calls = await self.metrics.summaries([function.id])
        environment = await self.environments.of_function(function)
        next_ms, last_ms = await self.functions.runs(function)
        shown = shapes.detailed_object(
            function,
            calls[function.id],
            list(environment.values),
            public_base(request, self.settings),
            app_id,
        )
        shown |= {"nextRun": shapes.time(next_ms), "lastRun": shapes.time(last_ms)}
        return await large(lambda: shown)

    @route("DELETE", "/functions/{name:path}", DEPLOY)
    async def delete_function(self, project: GrantedProject, name: str) -> Response:
        await self.publisher.delete(project.id, name)
        return Json({"success": True})

    @route("PATCH", "/functions/{name:path}/env", DEPLOY)
    async def change_environment(self, request: Request, project: GrantedProject, name: str) -> Response:
        function = await self.publisher.find(project.id, name)
        changes = shapes.environment_changes(await json_body(request, self.settings, project.id))
        environment = await self.environments.change(function, changes)
        function = await self.functions.get(project.id, function.id)
        return Json(shapes.environment_reply(function, list(environment.values)))

    @route("PATCH", "/functions/{name:path}/settings", DEPLOY)
    async def change_settings(self, request: Request, project: GrantedProject, name: str) -> Response:
        function = await self.publisher.find(project.id, name)
        allowed = shapes.impersonation(await json_body(request, self.settings, project.id))
        agent = {**AGENT_DEFAULTS, **(function.agent or {}), "allow_service_key_impersonation": allowed}
        function = await self.functions.update(project.id, function.id, {"agent": agent})
        return Json(shapes.settings_reply(function, allowed))

    @route("GET", "/env", DEPLOY)
    async def get_app_environment(self, project: GrantedProject) -> Response:
        found = await self.environments.of_project(project.id)
        updated = None if found.updated_at_ms is None else iso(found.updated_at_ms)
        return Json({"keys": list(found.values), "updatedAt": updated})

    @route("PATCH", "/env", DEPLOY)
    async def change_app_environment(self, request: Request, project: GrantedProject) -> Response:
        changes = shapes.environment_changes(await json_body(request, self.settings, project.id))
        environment, functions = await self.environments.change_project(project.id, changes)
        return Json(shapes.app_environment_reply(list(environment.values), functions))

    def _stream(self) -> LogStream:
        return LogStream(records=self.records, routes=self.routes, tail=self.tail, clock=self.clock)

    async def _by_name(self, project: Project) -> AsyncIterator[Sequence[tuple[Function, Summary]]]:
        """Every function with its figures, some at a time."""
        ids = [function_id for _, function_id in await self.functions.names(project.id)]
        for start in range(0, len(ids), _BATCH):
            functions = await self.functions.several(ids[start : start + _BATCH])
            calls = await self.metrics.summaries([function.id for function in functions])
            yield [(function, calls[function.id]) for function in functions]

    async def _logged(self, request: Request, project: Project, name: str) -> FunctionId:
        """The function whose log is asked for; a deleted one where the request says so."""
        try:
            return (await self.publisher.find(project.id, name)).id
        except NotFound:
            wants_deleted = request.query_params.get("include_deleted") == "true"
            found = await self.publisher.deleted_id(project.id, name) if wants_deleted else None
            if found is None:
                raise
            return found


def _listed(base: str, app_id: str, item: tuple[Function, Summary]) -> dict[str, Any]:
    return shapes.listed_object(*item, base, app_id)


def _log_query(request: Request) -> tuple[int, int | None, bool | None]:
    """Raises InvalidInput for what is no number, no time, no level."""
    query = request.query_params
    text = query.get("limit", str(_LOG_LIMIT))
    if not (text.isascii() and text.isdigit()):
        raise InvalidInput("limit: must be a whole number of 0 or more")
    since, level = query.get("since"), query.get("level")
    if level not in (None, "", "error", "info"):
        raise InvalidInput("level: must be error or info")
    failed = {"error": True, "info": False}.get(level or "")
    return min(int(text[:9]), LOG_MAX), _since(since, "since") if since else None, failed


def _since(text: str, label: str) -> int:
    try:
        return parse_iso(text)
    except ValueError:
        raise InvalidInput(f"{label}: {text!r} is not an ISO 8601 time") from None
