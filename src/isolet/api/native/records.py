"""The native API of what functions did: invocations, replay, log streams, metrics, usage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import JSONResponse, Response

from isolet.access.authorization import Authorizer
from isolet.access.rules import Access, Grant, OfKey, PathFunction
from isolet.api.log_streams import LogStreamResponse
from isolet.api.native import record_shapes as shapes
from isolet.api.native.jobs import NativeJobs
from isolet.api.native.parameters import Limit, function_id, time_ms
from isolet.api.reply import large
from isolet.api.rows import Granted, GrantedFunction, route
from isolet.domain.access import Role
from isolet.domain.invocations import Door, Invocation, Kind
from isolet.domain.jobs import JobState
from isolet.domain.metrics import Step, start_of
from isolet.domain.search import CallFilter, Status
from isolet.errors import Forbidden, InvalidInput, NotFound
from isolet.ids import FunctionId, ProjectId, is_uuid
from isolet.invoke.replay import Replays
from isolet.observe.call_history import CallHistory
from isolet.observe.tail import Event, Tail
from isolet.observe.usage_stats import UsageStats
from isolet.routing.routes import Routes

_KEEP_ALIVE_S = 15.0
_NOT_FOUND = "Invocation not found"
_NAMED = Access(Role.DEPLOY, OfKey(slug="project", function="function"))
# Who may call a function may know what became of an asynchronous call, but not its record.
_RECORD = Access(Role.INVOKE, OfKey(), wider=Role.DEPLOY)
_FUNCTION = Access(Role.DEPLOY, PathFunction())
# PostgreSQL takes no NUL.
Text = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]
_STATUSES: dict[str, JobState | Status] = {value: kind(value) for kind in (JobState, Status) for value in kind}
StatusText = Annotated[str | None, Query(json_schema_extra={"enum": list(_STATUSES)})]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsDoor:
    authorizer: Authorizer
    routes: Routes
    records: CallHistory
    jobs: NativeJobs
    replays: Replays
    tail: Tail
    usage_stats: UsageStats

    @route("GET", "/invocations", _NAMED, tags=["invocations"])
    async def list_invocations(
        self,
        grant: Granted,
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
        state = _status(status)
        wanted_function = self._function(grant, function)
        if cursor is not None and not is_uuid(cursor):
            raise InvalidInput("cursor is not one that this API gave")
        wanted = CallFilter(
            project_id=grant.project.id,
            function_id=wanted_function,
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

    @route("GET", "/invocations/{invocation_id}", _RECORD, tags=["invocations"])
    async def get_invocation(self, grant: Granted, invocation_id: str) -> Response:
        status = await self.jobs.find(grant, invocation_id)
        if status is None:
            call = await self._invocation(grant, invocation_id)
            return await large(lambda: shapes.detail(call))
        try:
            record = shapes.detail(await self._invocation(grant, invocation_id))
        except (NotFound, Forbidden):
            # It has not run yet, or the caller may know its result but not its record.
            record = {}
        return await self.jobs.shown(status, record)

    @route("POST", "/invocations/{invocation_id}/replay", _RECORD, status_code=201, tags=["invocations"])
    async def replay(self, grant: Granted, invocation_id: str) -> Response:
        if await self.jobs.find(grant, invocation_id) is not None:
            return await self.jobs.replay(grant, invocation_id)
        replayed = await self.replays.run(await self._invocation(grant, invocation_id))
        shown = shapes.detail(await self.records.get(replayed))
        return JSONResponse(shown, status_code=201, headers={"x-invocation-id": replayed})

    @route("GET", "/logs/stream", _NAMED, tags=["logs"])
    async def stream(
        self,
        request: Request,
        grant: Granted,
        function: str | None = None,
        level: shapes.Level | None = None,
        q: Text = None,
    ) -> Response:
        return self._stream(request, grant, self._function(grant, function), level, q)

    @route("GET", "/functions/{function_id}/logs", _FUNCTION, tags=["logs"])
    async def own_lines(self, function: GrantedFunction) -> dict[str, Any]:
        """What the function printed outside of calls, as it loaded for one, since this server started.

        The latest 100 lines, oldest first. Those of a call are in its record.
        """
        lines = self.records.own_lines(function.id)
        return {"data": [shapes.console_line(line) for line in lines], "next_cursor": None}

    @route("GET", "/functions/{function_id}/logs/stream", _FUNCTION, tags=["logs"])
    async def stream_function(
        self, request: Request, grant: Granted, level: shapes.Level | None = None, q: Text = None
    ) -> Response:
        return self._stream(request, grant, grant.function.id, level, q)

    def _stream(
        self,
        request: Request,
        grant: Grant,
        function_id: FunctionId | None,
        level: shapes.Level | None,
        text: str | None,
    ) -> Response:
        project_id = grant.project.id

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
                allowed=lambda: self.authorizer.still(grant, request.scope),
            )
            async with aclosing(events):
                async for event in events:
                    yield shapes.server_sent(self.tail, event)

        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        most = self.routes.limits_of(project_id).log_streams
        return LogStreamResponse(lines(), tail=self.tail, project_id=project_id, most=most, headers=headers)

    @route("GET", "/functions/{function_id}/metrics", _FUNCTION, tags=["metrics"])
    async def metrics(self, function: GrantedFunction, window: str = "24h") -> dict[str, Any]:
        return shapes.metrics(function.id, window, await self.usage_stats.function(function.id, window))

    @route("GET", "/usage", Access(Role.DEPLOY, OfKey(slug="project", every=True)), tags=["metrics"])
    async def usage(self, grant: Granted, month: str | None = None) -> dict[str, Any]:
        """Sums of a month, `2026-01`; of this one without `month`. One object for each project.

        - `invocations`, `errors`: calls that ran, and those of them that failed.
        - `gb_seconds`: the memory limit of each call times its time.
        - `egress_bytes`: bodies of functions' replies, to callers and as results of asynchronous calls. Not in it:
          headers, what functions send with `fetch`, WebSockets or `connect()`, and callbacks.
        - `storage_bytes`: the size of the project's stores now.
        """
        own = grant.found.project
        slugs = {project.id: project.slug for project in (self.routes.projects() if own is None else (own,))}
        found = await self.usage_stats.usage(list(slugs), _month(month))
        return {"data": [shapes.usage(one, slugs[ProjectId(one.project_id)]) for one in found], "next_cursor": None}

    def _function(self, grant: Grant, text: str | None) -> FunctionId | None:
        return None if text is None else function_id(self.routes, grant.project.id, text)

    async def _invocation(self, grant: Grant, invocation_id: str) -> Invocation:
        """Raises NotFound, Forbidden."""
        call = await self.records.get(invocation_id.lower())
        if not grant.principal.sees(call.project_id):
            raise NotFound(_NOT_FOUND)
        grant.require_wide()
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
