"""Joins the records of calls with the jobs of asynchronous ones, which have the same ids.

An asynchronous call has a state from the moment in which it is accepted, and a record after it has run. Either may be
deleted before the other. Every method takes the project whose calls the caller sees; None stands for every project.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from isolet.domain.http_jobs import ASYNC_DOOR
from isolet.domain.invocations import Invocation, Kind
from isolet.domain.jobs import Job, JobState
from isolet.domain.search import CallFilter
from isolet.errors import Conflict, NotFound
from isolet.ids import ProjectId
from isolet.invoke.replay import Replays
from isolet.jobs.queue import Jobs, Status
from isolet.observe.call_history import CallHistory

_NOT_FOUND = "Invocation not found"


class RecordedInvocation(Struct, frozen=True, kw_only=True):
    """A call that has no state of its own: its caller waited for it, or its state is deleted."""

    record: Invocation


class AsyncInvocation(Struct, frozen=True, kw_only=True):
    """An asynchronous call. `record` is None before it has run, and where nobody asked for it."""

    status: Status
    record: Invocation | None = None


class Page(Struct, frozen=True, kw_only=True):
    """`items` are jobs where the filter asks for a state that records do not know. `following` is None at the end."""

    items: Sequence[Invocation | Job]
    following: str | None


class Invocations:
    def __init__(self, *, records: CallHistory, jobs: Jobs, replays: Replays) -> None:
        self._records = records
        self._jobs = jobs
        self._replays = replays

    async def list(self, wanted: CallFilter, state: JobState | None = None) -> Page:
        """Newest first. With `state` the asynchronous calls in that state, else the calls on record."""
        if state is None:
            page = await self._records.find(wanted)
            return Page(items=page.calls, following=page.following)
        if wanted.door not in (None, ASYNC_DOOR) or wanted.kind not in (None, Kind.ASYNC):
            return Page(items=(), following=None)
        calls, following = await self._jobs.find(wanted, state)
        return Page(items=calls, following=following)

    async def get(
        self, invocation_id: str, project_id: ProjectId | None, *, with_record: bool = True
    ) -> RecordedInvocation | AsyncInvocation:
        """`with_record` reads the record of an asynchronous call as well. Raises NotFound."""
        status = await self._status(invocation_id, project_id)
        if status is None:
            return RecordedInvocation(record=await self._record(invocation_id, project_id))
        if not with_record:
            return AsyncInvocation(status=status)
        try:
            return AsyncInvocation(status=status, record=await self._record(invocation_id, project_id))
        except NotFound:
            # The call has not run yet, or its record is deleted.
            return AsyncInvocation(status=status)

    async def cancel(self, invocation_id: str, project_id: ProjectId | None) -> Status:
        """End an asynchronous call that waits or runs. Raises NotFound, and Conflict for a call that has ended."""
        try:
            return await self._jobs.cancel(invocation_id.lower(), project_id)
        except NotFound:
            await self._record(invocation_id, project_id)
            raise Conflict("The invocation has ended already") from None

    async def redeliver(self, invocation_id: str, project_id: ProjectId | None) -> Status:
        """Send the callback of an asynchronous call again.

        Raises NotFound, TooManyRequests, and Conflict without a callback or while one is being delivered.
        """
        try:
            return await self._jobs.redeliver(invocation_id.lower(), project_id)
        except NotFound:
            await self._record(invocation_id, project_id)
            raise Conflict("The invocation has no callback to deliver") from None

    async def replay(self, call: RecordedInvocation | AsyncInvocation) -> RecordedInvocation | AsyncInvocation:
        """Make the same call again under a new id. An asynchronous call is accepted, another one has ended.

        Raises NotFound, Conflict for a record that is not whole, NotDeployed, TooManyRequests.
        """
        if isinstance(call, RecordedInvocation):
            return RecordedInvocation(record=await self._records.get(await self._replays.run(call.record)))
        project_id = call.status.call.project_id
        job_id = await self._jobs.replay(call.status.call.id, project_id)
        return AsyncInvocation(status=await self._jobs.status(job_id, project_id))

    async def _status(self, invocation_id: str, project_id: ProjectId | None) -> Status | None:
        try:
            return await self._jobs.status(invocation_id.lower(), project_id)
        except NotFound:
            return None

    async def _record(self, invocation_id: str, project_id: ProjectId | None) -> Invocation:
        """Raises NotFound."""
        record = await self._records.get(invocation_id.lower())
        if project_id is not None and record.project_id != project_id:
            raise NotFound(_NOT_FOUND)
        return record
