"""The use cases of asynchronous calls and their callbacks: accept, status, cancel, replay, redeliver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from msgspec import Struct

from isolet.clock import Clock
from isolet.database import deliveries as stored_deliveries
from isolet.database import jobs as stored
from isolet.database.connection import Connection, Database
from isolet.database.idempotency import Idempotency, take_key
from isolet.database.job_search import find_calls
from isolet.domain.callbacks import host_of
from isolet.domain.http_jobs import CALL, CallPayload
from isolet.domain.invocations import Door, Kind
from isolet.domain.jobs import Job, JobState, asked_again, lane
from isolet.domain.search import CallFilter
from isolet.errors import Conflict, InvalidInput, NotFound
from isolet.ids import FunctionId, JobId, ProjectId, new_id
from isolet.jobs.engine import Engine
from isolet.routing.routes import Route

_Get = Callable[[Connection, JobId], Job | None]
IDEMPOTENCY_MS = 24 * 3_600_000
# The store reads all of a result for each part of it; to write a part as JSON holds up every thread.
RESULT_PART_BYTES = 524_288
_BULK_MAX = 1_000


class AsyncCall(Struct, frozen=True, kw_only=True):
    """What a door hands over. `target` is what the function sees as path and query."""

    door: Door
    route: Route
    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    callback_url: str | None = None
    idempotency_key: str | None = None
    digest: bytes = b""


class Status(Struct, frozen=True, kw_only=True):
    """A call, and the delivery of its callback when there is one, both without bodies."""

    call: Job
    callback: Job | None


class Jobs:
    def __init__(self, *, engine: Engine, database: Database, clock: Clock) -> None:
        self._engine = engine
        self._database = database
        self._clock = clock

    def check_room(self, project_id: ProjectId, size_bytes: int) -> None:
        """Raises TooManyRequests when the project has no room for one more call, TooLarge when there never is."""
        self._engine.backlog.check(project_id, size_bytes)

    async def accept(self, call: AsyncCall) -> JobId:
        """Keep a call; when this returns it is on disk.

        Raises InvalidInput for a key that was used otherwise, TooManyRequests when the project has too many, TooLarge.
        """
        now_ms = self._clock.now_ms()
        payload = CallPayload(
            door=call.door, kind=Kind.ASYNC, method=call.method, headers=call.headers, callback_url=call.callback_url
        )
        job = Job(
            id=JobId(new_id()),
            kind=CALL,
            project_id=call.route.project_id,
            function_id=call.route.function_id,
            function_name=call.route.name,
            lane=lane(call.route.project_id, call.route.function_id),
            target=call.target,
            payload=payload.dump(),
            created_at_ms=now_ms,
            due_at_ms=now_ms,
            body=call.body,
        )
        key = call.idempotency_key
        if key is None:
            return (await self._engine.submit(job)).id
        wanted = Idempotency(key=key, digest=call.digest, expires_at_ms=now_ms + IDEMPOTENCY_MS)
        order = ("idempotency_keys", job.function_id, key)
        kept = await self._engine.submit(job, partial(take_key, wanted=wanted), order=order)
        if not kept.same:
            raise InvalidInput("Idempotency-Key was used for another request")
        return kept.id

    async def status(self, job_id: str, project_id: ProjectId | None) -> Status:
        """A call of that project, or of any when None, without its bodies. Raises NotFound."""
        return await self._status(job_id, project_id, stored.get_light)

    async def result_part(self, job_id: JobId, start: int) -> bytes:
        """`RESULT_PART_BYTES` of a call's result, fewer at its end. Raises NotFound when it is gone."""
        part = await self._database.read(stored.get_result_part, job_id, start, RESULT_PART_BYTES)
        if part is None:
            raise NotFound("Invocation not found")
        return part

    async def _status(self, job_id: str, project_id: ProjectId | None, get: _Get) -> Status:
        call = await self._database.read(get, JobId(job_id))
        if call is None or call.kind != CALL or (project_id is not None and call.project_id != project_id):
            raise NotFound("Invocation not found")
        return Status(call=call, callback=await self._database.read(stored_deliveries.callback_of, call.id))

    async def find(self, wanted: CallFilter, state: JobState) -> tuple[Sequence[Job], str | None]:
        """A page of calls in that state, newest first, and where the next page begins; None at the end."""
        return await self._database.read(find_calls, wanted, state)

    async def cancel(self, job_id: str, project_id: ProjectId | None) -> Status:
        """End a call that waits or runs. Raises NotFound, and Conflict for one that has ended."""
        call = (await self.status(job_id, project_id)).call
        if await self._engine.cancel(call) is None:
            raise Conflict("The invocation has ended already")
        return await self.status(job_id, project_id)

    async def replay(self, job_id: str, project_id: ProjectId | None) -> JobId:
        """Make the same call again, under an id of its own. Raises NotFound, TooManyRequests."""
        call = (await self._status(job_id, project_id, stored.get)).call
        again = asked_again(call, JobId(new_id()), self._clock.now_ms())
        return (await self._engine.submit(again)).id

    async def redeliver(self, job_id: str, project_id: ProjectId | None) -> Status:
        """Send a call's callback again.

        Raises NotFound, Conflict while it is on its way or there is none, TooManyRequests.
        """
        status = await self.status(job_id, project_id)
        if status.callback is None:
            raise Conflict("The invocation has no callback to deliver")
        callback = status.callback
        if not callback.state.ended:
            raise Conflict("The callback is being delivered already")
        if not await self._engine.reopen([callback]):
            raise Conflict("The callback is being delivered already")
        return await self.status(job_id, project_id)

    async def deliveries(
        self,
        project_id: ProjectId | None,
        *,
        state: JobState | None = None,
        function_id: str | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
        before: str | None = None,
        limit: int,
    ) -> Sequence[Job]:
        """Newest first."""
        return await self._database.read(
            stored_deliveries.list_deliveries,
            project_id,
            state=state,
            function_id=None if function_id is None else FunctionId(function_id),
            since_ms=since_ms,
            until_ms=until_ms,
            before=None if before is None else JobId(before),
            limit=limit,
        )

    async def redeliver_all(
        self,
        project_id: ProjectId | None,
        *,
        function_id: str | None = None,
        host: str | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
    ) -> int:
        """Send the failed callbacks again that the filter finds, at most 1,000 at a time; how many."""
        found = await self.deliveries(
            project_id,
            state=JobState.FAILED,
            function_id=function_id,
            since_ms=since_ms,
            until_ms=until_ms,
            limit=_BULK_MAX,
        )
        chosen = [job for job in found if host is None or host_of(job.target) == host.lower()]
        return await self._engine.reopen(chosen)
