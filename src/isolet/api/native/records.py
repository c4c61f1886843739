"""The native API of what functions did: log streams, metrics, usage. `invocations.py` has the calls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime

from fastapi import Request
from fastapi.responses import Response
from msgspec import Struct

from isolet.access.authorization import Authorizer
from isolet.access.rules import Access, Grant, OfKey, PathFunction
from isolet.api.log_streams import LogStreamResponse
from isolet.api.native import record_shapes as shapes
from isolet.api.native.parameters import Text, function_id
from isolet.api.native.serving import page, serve
from isolet.api.rows import Granted, GrantedFunction
from isolet.contract.logs import Logs
from isolet.contract.usage import MetricsReply, SeriesReply, Usage
from isolet.domain.access import Role
from isolet.domain.metrics import Step, start_of
from isolet.errors import InvalidInput
from isolet.ids import FunctionId, ProjectId
from isolet.observe.call_history import CallHistory
from isolet.observe.series import Series
from isolet.observe.tail import Event, Tail
from isolet.observe.usage_stats import UsageStats
from isolet.routing.routes import Routes

_KEEP_ALIVE_S = 15.0
_NAMED = Access(Role.DEPLOY, OfKey(slug="project", function="function")).for_readers()
_FUNCTION = Access(Role.DEPLOY, PathFunction()).for_readers()

_USAGE = Access(Role.DEPLOY, OfKey(slug="project", every=True)).for_readers()


class RecordsDoor(Struct, frozen=True, kw_only=True):
    authorizer: Authorizer
    routes: Routes
    records: CallHistory
    tail: Tail
    usage_stats: UsageStats
    series: Series

    @serve(Logs.follow, _NAMED)
    async def stream(
        self,
        request: Request,
        grant: Granted,
        function: str | None = None,
        level: shapes.Level | None = None,
        q: Text = None,
    ) -> Response:
        return self._stream(request, grant, self._function(grant, function), level, q)

    @serve(Logs.list_own_lines, _FUNCTION)
    async def own_lines(self, function: GrantedFunction) -> Response:
        """What the function printed outside of calls, as it loaded for one, since this server started.

        The latest 100 lines, oldest first. Those of a call are in its record.
        """
        return await page(shapes.console_line, self.records.own_lines(function.id), None)

    @serve(Logs.follow_function, _FUNCTION)
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

    @serve(Usage.of_function, _FUNCTION)
    async def metrics(self, function: GrantedFunction, window: str = "24h") -> MetricsReply:
        return shapes.metrics(function.id, window, await self.usage_stats.function(function.id, window))

    @serve(Usage.series, _FUNCTION)
    async def metrics_series(self, function: GrantedFunction, window: str = "24h") -> SeriesReply:
        return shapes.series(window, await self.series.line(function.id, window))

    @serve(Usage.list, _USAGE)
    async def usage(self, grant: Granted, month: str | None = None) -> Response:
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
        return await page(lambda one: shapes.usage(one, slugs[ProjectId(one.project_id)]), found, None)

    def _function(self, grant: Grant, text: str | None) -> FunctionId | None:
        return None if text is None else function_id(self.routes, grant.project.id, text)


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
