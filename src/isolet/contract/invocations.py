"""Calls of functions: what became of them, and what can be done about asynchronous ones."""

from __future__ import annotations

from pydantic import Field

from isolet.contract.models import Number, Page, Reply
from isolet.contract.operations import Mode, Resource, operation


class InvocationSummaryReply(Reply):
    """Null: not known, as of an asynchronous call that has not run. `created_at` is there of such a call."""

    id: str
    function_id: str
    function_name: str
    version: int | None
    door: str
    kind: str
    status: str
    outcome: str | None
    status_code: int | None
    method: str
    path: str
    error: str | None
    created_at: str | None = None
    started_at: str | None
    duration_ms: Number | None
    cold_start: bool | None


class AttemptReply(Reply):
    at: str
    duration_ms: Number
    status: int | None
    error: str | None


class JobReply(Reply):
    """What asynchronous calls and deliveries of callbacks have in common."""

    id: str
    function_id: str
    status: str
    attempts: list[AttemptReply]
    error: str | None
    created_at: str
    next_attempt_at: str | None
    finished_at: str | None


class DeliveryReply(JobReply):
    """The delivery of a callback."""

    invocation_id: str | None
    url: str


class TimingsReply(Reply):
    queue_ms: Number
    cold_start_ms: Number
    function_ms: Number


class RecordedRequestReply(Reply):
    """`body` is text, or base64 where `encoding` says so; `redacted`: credentials were removed."""

    query: str
    headers: list[list[str]]
    body: str
    encoding: str
    truncated: bool
    redacted: bool


class RecordedResponseReply(Reply):
    """`size_bytes` is that of the whole body."""

    status: int | None
    body: str
    encoding: str
    truncated: bool
    size_bytes: int


class ConsoleLineReply(Reply):
    """`truncated`: the message was longer."""

    level: str
    message: str
    at: str
    stack: str | None
    truncated: bool


class OutgoingReply(Reply):
    """A request that the call made with `fetch`; neither query nor bodies are kept.

    `duration_ms` is until the head of the reply was there, null while none is; `status` is null without a reply.
    """

    method: str
    host: str
    path: str
    status: int | None
    duration_ms: Number | None


class KillReportReply(Reply):
    """Which limit ended the call: `allowed` and `used` are milliseconds for time and CPU, MiB for memory."""

    limit: str
    at_ms: int
    allowed: int | None
    used: int | None
    detail: str | None
    stuck: bool
    hit: int
    rerun: int
    message: str


class ResultReply(Reply):
    """The reply of an asynchronous call. `body` is text, or base64 where `encoding` says so."""

    status: int
    headers: list[list[str]]
    body: str
    encoding: str


class RecordReply(InvocationSummaryReply):
    """The record of a call that has run."""

    timings: TimingsReply
    request: RecordedRequestReply
    response: RecordedResponseReply
    stack: str | None
    console: list[ConsoleLineReply]
    console_truncated: bool
    outgoing: list[OutgoingReply]
    kill_report: KillReportReply | None
    memory_mb: Number


class AsyncStateReply(JobReply):
    """The state of an asynchronous call; `result` is null before it has one."""

    kind: str
    door: str
    function_name: str
    cancel_requested: bool
    callback: DeliveryReply | None
    callback_url: str | None


class InvocationReply(Reply):
    """A call. Members of the record are absent before it has run, those of the state where the caller waited for it."""

    id: str
    function_id: str
    function_name: str
    door: str
    kind: str
    status: str
    error: str | None

    version: int | None = None
    outcome: str | None = None
    status_code: int | None = None
    method: str | None = None
    path: str | None = None
    started_at: str | None = None
    duration_ms: Number | None = None
    cold_start: bool | None = None
    timings: TimingsReply | None = None
    request: RecordedRequestReply | None = None
    response: RecordedResponseReply | None = None
    stack: str | None = None
    console: list[ConsoleLineReply] = Field(default_factory=list)
    console_truncated: bool = False
    outgoing: list[OutgoingReply] = Field(default_factory=list)
    kill_report: KillReportReply | None = None
    memory_mb: Number | None = None

    attempts: list[AttemptReply] = Field(default_factory=list)
    created_at: str | None = None
    next_attempt_at: str | None = None
    finished_at: str | None = None
    cancel_requested: bool = False
    callback: DeliveryReply | None = None
    callback_url: str | None = None
    result: ResultReply | None = None


class Invocations(Resource[Mode]):
    tag = "invocations"

    @operation("GET", "/invocations")
    def list(
        self,
        *,
        project: str | None = None,
        function: str | None = None,
        door: str | None = None,
        status: str | None = None,
        kind: str | None = None,
        q: str | None = None,
        since: str | None = None,
        until: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[InvocationSummaryReply]:
        """Newest first. `function` is an id, slug or name; times are ISO 8601, or milliseconds."""

    @operation("GET", "/invocations/{invocation_id}")
    def get(self, invocation_id: str) -> InvocationReply:
        """A call with its console lines and outgoing requests, and its result when it was asynchronous."""

    @operation("POST", "/invocations/{invocation_id}/replay", status=201)
    def replay(self, invocation_id: str) -> InvocationReply:
        """Make the same call again: the new one, which has ended unless it is asynchronous."""

    @operation("POST", "/invocations/{invocation_id}/cancel")
    def cancel(self, invocation_id: str) -> InvocationReply:
        """Cancel an asynchronous call that has not ended."""

    @operation("POST", "/invocations/{invocation_id}/redeliver", status=202)
    def redeliver(self, invocation_id: str) -> InvocationReply:
        """Send the callback of an asynchronous call again."""
