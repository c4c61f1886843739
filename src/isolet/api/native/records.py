"""The native API of what functions did: invocations, replay, log streams, metrics, usage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from isolet.api.log_streams import LogStreamResponse
from isolet.api.native import record_shapes as shapes
from isolet.api.native.access import Limit, NativeAccess, time_ms
from isolet.api.native.jobs import NativeJobs
from isolet.api.reply import large
from isolet.domain.access import Role
from isolet.domain.functions import Function
from isolet.domain.invocations import Door, Invocation, Kind
from isolet.domain.jobs import JobState
from isolet.domain.metrics import Step, start_of
from isolet.domain.search import CallFilter, Status
from isolet.errors import Forbidden, InvalidInput, NotFound
from isolet.functions.service import Functions
from isolet.ids import FunctionId, ProjectId, is_uuid
from isolet.invoke.replay import Replays
from isolet.observe.call_history import CallHistory
from isolet.observe.tail import Event, Tail
from isolet.observe.usage_stats import UsageStats

_KEEP_ALIVE_S = 15.0
_NOT_FOUND = "Invocation not found"
# PostgreSQL takes no NUL.
Text = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]
_STATUSES: dict[str, JobState | Status] = {value: kind(value) for kind in (JobState, Status) for value in kind}
StatusText = Annotated[str | None, Query(json_schema_extra={"enum": list(_STATUSES)})]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsDoor:
    """Everything here needs the role `deploy` in the project that it speaks of."""

    access: NativeAccess
    functions: Functions
    records: CallHistory
    jobs: NativeJobs
    replays: Replays
    tail: Tail
    metrics: UsageStats

    def router(self) -> APIRouter:
        router = self.access.router()
        self._add_invocations(router)
        self._add_streams(router)
        self._add_figures(router)
        return router

    def _add_invocations(self, router: APIRouter) -> None:
        @router.get("/invocations", tags=["invocations"])
        async def list_invocations(
            request: Request,
            project: str | None = None,
            function: str | None = None,
            door: Door | None = None,
            status: StatusText = None,
            kind: Kind | None = None,
            q: Text = None,
            since: str | None = None,
            until: str | None = None,
            limit: Limit = 50,
            cursor: str | None = None,
        ) -> dict[str, Any]:
            project_id, function_id = self._scope(request, project, function)
            state = _status(status)
            if cursor is not None and not is_uuid(cursor):
                raise InvalidInput("cursor is not one that this API gave")
            wanted = CallFilter(
                project_id=project_id,
                function_id=function_id,
                door=door,
                status=state if isinstance(state, Status) else None,
                kind=kind,
                text=q,
                since_ms=time_ms("since", since),
                until_ms=time_ms("until", until),
                before=cursor,
                limit=limit,
            )
            if isinstance(state, JobState):
                return await self.jobs.list(wanted, state)
            page = await self.records.find(wanted)
            return {"data": [shapes.summary(call) for call in page.calls], "next_cursor": page.following}

        @router.get("/invocations/{invocation_id}", tags=["invocations"])
        async def get_invocation(request: Request, invocation_id: str) -> Response:
            status = await self.jobs.find(request, invocation_id)
            if status is None:
                call = await self._invocation(request, invocation_id)
                return await large(lambda: shapes.detail(call))
            try:
                record = shapes.detail(await self._invocation(request, invocation_id))
            except (NotFound, Forbidden):
                # It has not run yet, or the caller may know its result but not its record.
                record = {}
            return await self.jobs.shown(status, record)

        @router.post("/invocations/{invocation_id}/replay", status_code=201, tags=["invocations"])
        async def replay(request: Request, invocation_id: str) -> Response:
            if await self.jobs.find(request, invocation_id) is not None:
                return await self.jobs.replay(request, invocation_id)
            replayed = await self.replays.run(await self._invocation(request, invocation_id))
            shown = shapes.detail(await self.records.get(replayed))
            return JSONResponse(shown, status_code=201, headers={"x-invocation-id": replayed})

    def _add_streams(self, router: APIRouter) -> None:
        @router.get("/logs/stream", tags=["logs"])
        async def stream(
            request: Request,
            project: str | None = None,
            function: str | None = None,
            level: shapes.Level | None = None,
            q: Text = None,
        ) -> Response:
            project_id, function_id = self._scope(request, project, function)
            return self._stream(request, project_id, function_id, level, q)

        @router.get("/functions/{function_id}/logs", tags=["logs"])
        async def own_lines(request: Request, function_id: str) -> dict[str, Any]:
            """What the function printed outside of calls, as it loaded for one, since this server started.

            The latest 100 lines, oldest first. Those of a call are in its record.
            """
            function = await self._function(request, function_id)
            lines = self.records.own_lines(function.id)
            return {"data": [shapes.console_line(line) for line in lines], "next_cursor": None}

        @router.get("/functions/{function_id}/logs/stream", tags=["logs"])
        async def stream_function(
            request: Request, function_id: str, level: shapes.Level | None = None, q: Text = None
        ) -> Response:
            function = await self._function(request, function_id)
            return self._stream(request, function.project_id, function.id, level, q)

    def _stream(
        self,
        request: Request,
        project_id: ProjectId,
        function_id: FunctionId | None,
        level: shapes.Level | None,
        text: str | None,
    ) -> Response:
        def wanted(event: Event) -> bool:
            return (
                (function_id is None or event.function_id == function_id)
                and (level is None or shapes.level_of(event) == level)
                and (not text or shapes.holds(event, text))
            )

        async def lines() -> AsyncIterator[str]:
            yield ": connected\n\n"
            after = request.headers.get("last-event-id")
            events = self.tail.follow(
                project_id,
                after=after,
                wanted=wanted,
                keep_alive_s=_KEEP_ALIVE_S,
                allowed=lambda: self.access.has_role(request, project_id, Role.DEPLOY),
            )
            async with aclosing(events):
                async for event in events:
                    yield shapes.server_sent(self.tail, event)

        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        most = self.access.limits_of(project_id).log_streams
        return LogStreamResponse(lines(), tail=self.tail, project_id=project_id, most=most, headers=headers)

    def _add_figures(self, router: APIRouter) -> None:
        @router.get("/functions/{function_id}/metrics", tags=["metrics"])
        async def metrics(request: Request, function_id: str, window: str = "24h") -> dict[str, Any]:
            function = await self._function(request, function_id)
            return shapes.metrics(function.id, window, await self.metrics.function(function.id, window))

        @router.get("/usage", tags=["metrics"])
        async def usage(request: Request, project: str | None = None, month: str | None = None) -> dict[str, Any]:
            """Sums of a month, `2026-01`; of this one without `month`. One object for each project.

            - `invocations`, `errors`: calls that ran, and those of them that failed.
            - `gb_seconds`: the memory limit of each call times its time.
            - `egress_bytes`: bodies of functions' replies, to callers and as results of asynchronous calls. Not in it:
              headers, what functions send with `fetch`, WebSockets or `connect()`, and callbacks.
            - `storage_bytes`: the size of the project's stores now.
            """
            principal = self.access.principal(request)
            if project is not None:
                slugs = {self.access.project(request, project, Role.DEPLOY).id: project}
            elif principal.project_id is not None:
                principal.require(Role.DEPLOY, principal.project_id)
                slugs = {principal.project_id: self.access.slug_of(principal.project_id)}
            else:
                slugs = self.access.slugs()
            found = await self.metrics.usage(list(slugs), _month(month))
            return {"data": [shapes.usage(one, slugs[ProjectId(one.project_id)]) for one in found], "next_cursor": None}

    def _scope(
        self, request: Request, project: str | None, function: str | None
    ) -> tuple[ProjectId, FunctionId | None]:
        """The project that is asked about, and the function in it."""
        principal = self.access.principal(request)
        if project is not None:
            project_id = self.access.project(request, project, Role.DEPLOY).id
        else:
            project_id = principal.project_id or self.access.default_project_id
            if principal.is_root and function and (route := self.access.route(function)):
                project_id = route.project_id
            principal.require(Role.DEPLOY, project_id)
        return project_id, None if function is None else self.access.function_id(project_id, function)

    async def _function(self, request: Request, function_id: str) -> Function:
        principal = self.access.principal(request)
        function = await self.functions.get(principal.project_id, function_id.lower())
        principal.require(Role.DEPLOY, function.project_id, missing="Function not found")
        return function

    async def _invocation(self, request: Request, invocation_id: str) -> Invocation:
        principal = self.access.principal(request)
        call = await self.records.get(invocation_id.lower())
        principal.require(Role.DEPLOY, call.project_id, missing=_NOT_FOUND)
        return call


def _month(text: str | None) -> int:
    """The beginning of a month `2026-01`; of this one without."""
    if text is None:
        return start_of(Step.MONTH, round(datetime.now(UTC).timestamp() * 1000))
    try:
        start_ms = round(datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError:
        raise InvalidInput("month must be like 2026-01") from None
    if start_ms < 0:
        raise InvalidInput("month must be 1970-01 or later")
    return start_ms


def _status(text: str | None) -> Status | JobState | None:
    if text is not None and text not in _STATUSES:
        raise InvalidInput(f"status must be one of {', '.join(_STATUSES)}")
    return None if text is None else _STATUSES[text]
