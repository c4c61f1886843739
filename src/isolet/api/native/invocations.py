"""The native API of calls that were made: list, show, cancel, replay and redeliver them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from fastapi.responses import Response
from msgspec import Struct

from isolet.access.rules import Access, OfKey
from isolet.api.job_results import status_reply
from isolet.api.native import PREFIX, job_shapes, record_shapes
from isolet.api.native.parameters import Limit, Text, function_id, time_ms
from isolet.api.native.serving import large_reply, page, serve
from isolet.api.rows import Granted
from isolet.contract.invocations import InvocationReply, Invocations, InvocationSummaryReply
from isolet.domain.access import Role
from isolet.domain.invocations import Door, Invocation, Kind
from isolet.domain.jobs import Job, JobState
from isolet.domain.search import CallFilter, Status
from isolet.errors import InvalidInput
from isolet.ids import is_uuid
from isolet.invocations import AsyncInvocation, RecordedInvocation
from isolet.invocations import Invocations as InvocationService
from isolet.jobs.queue import Jobs
from isolet.routing.routes import Routes

_NAMED = Access(Role.DEPLOY, OfKey(slug="project", function="function")).for_readers()
_INVOKE = Access(Role.INVOKE, OfKey())
_DEPLOY = Access(Role.DEPLOY, OfKey())
# Who may call a function may know what became of an asynchronous call, but not its record.
_RECORD = Access(Role.INVOKE, OfKey(), wider=Role.DEPLOY)
_READ = _RECORD.for_readers()
_STATUSES: dict[str, JobState | Status] = {value: kind(value) for kind in (JobState, Status) for value in kind}
StatusText = Annotated[str | None, Query(json_schema_extra={"enum": list(_STATUSES)})]


class InvocationsDoor(Struct, frozen=True, kw_only=True):
    routes: Routes
    invocations: InvocationService
    jobs: Jobs

    @serve(Invocations.list, _NAMED)
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
    ) -> Response:
        state = _status(status)
        project_id = grant.project.id
        wanted_function = None if function is None else function_id(self.routes, project_id, function)
        if cursor is not None and not is_uuid(cursor):
            raise InvalidInput("cursor is not one that this API gave")
        wanted = CallFilter(
            project_id=project_id,
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
        found = await self.invocations.list(wanted, state if isinstance(state, JobState) else None)
        return await page(_summary, found.items, found.following)

    @serve(Invocations.get, _READ)
    async def get_invocation(self, grant: Granted, invocation_id: str) -> Response:
        found = await self.invocations.get(invocation_id, grant.principal.project_id, with_record=grant.is_wide)
        if isinstance(found, AsyncInvocation):
            return await self._state(found)
        grant.require_wide()
        record = found.record
        return await large_reply(lambda: record_shapes.detail(record))

    @serve(Invocations.replay, _RECORD, responses={202: {"model": InvocationReply}})
    async def replay(self, grant: Granted, invocation_id: str) -> Response:
        """An asynchronous call is accepted again (202); another call has ended when the reply comes (201)."""
        found = await self.invocations.get(invocation_id, grant.principal.project_id, with_record=False)
        if isinstance(found, RecordedInvocation):
            grant.require_wide()
        new = await self.invocations.replay(found)
        if isinstance(new, AsyncInvocation):
            location = f"{PREFIX}/invocations/{new.status.call.id}"
            return await self._state(new, status_code=202, location=location)
        record = new.record
        reply = await large_reply(lambda: record_shapes.detail(record), 201)
        reply.headers["x-invocation-id"] = record.id
        return reply

    @serve(Invocations.cancel, _INVOKE)
    async def cancel(self, grant: Granted, invocation_id: str) -> Response:
        status = await self.invocations.cancel(invocation_id, grant.principal.project_id)
        return await self._state(AsyncInvocation(status=status))

    @serve(Invocations.redeliver, _DEPLOY)
    async def redeliver(self, grant: Granted, invocation_id: str) -> Response:
        status = await self.invocations.redeliver(invocation_id, grant.principal.project_id)
        return await self._state(AsyncInvocation(status=status), status_code=202)

    async def _state(self, call: AsyncInvocation, *, status_code: int = 200, location: str | None = None) -> Response:
        """The state of an asynchronous call, with the members of its record below those of its state."""
        record = {} if call.record is None else record_shapes.detail(call.record).to_json()
        shown = {**record, **job_shapes.state_reply(call.status).to_json()}
        headers = {} if location is None else {"location": location}
        return await status_reply(self.jobs, call.status, shown, status_code=status_code, headers=headers)


def _summary(item: Invocation | Job) -> InvocationSummaryReply:
    return job_shapes.call_summary(item) if isinstance(item, Job) else record_shapes.summary(item)


def _status(text: str | None) -> Status | JobState | None:
    if text is not None and text not in _STATUSES:
        raise InvalidInput(f"status must be one of {', '.join(_STATUSES)}")
    return None if text is None else _STATUSES[text]
