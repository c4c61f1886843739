"""Asynchronous calls and the deliveries of their callbacks as the contract has them."""

from __future__ import annotations

from urllib.parse import unquote

from isolet.clock import iso
from isolet.contract.invocations import AsyncStateReply, AttemptReply, DeliveryReply, InvocationSummaryReply, JobReply
from isolet.domain.http_jobs import CallPayload, ReplyHead
from isolet.domain.jobs import Attempt, Job, JobState
from isolet.jobs.queue import Status


def call_summary(call: Job) -> InvocationSummaryReply:
    """As a record's summary, as far as it is known before there is one."""
    asked, reply = CallPayload.of(call), ReplyHead.of(call)
    return InvocationSummaryReply(
        id=call.id,
        function_id=call.function_id,
        function_name=call.function_name,
        version=None,
        door=asked.door.value,
        kind=asked.kind.value,
        status=call.state.value,
        outcome=None,
        status_code=None if reply is None else reply.status,
        method=asked.method,
        path=unquote(call.target.partition("?")[0]),
        error=call.error,
        created_at=iso(call.created_at_ms),
        started_at=None,
        duration_ms=None,
        cold_start=None,
    )


def state_reply(status: Status) -> AsyncStateReply:
    """All but the result: see `job_results`."""
    call, asked = status.call, CallPayload.of(status.call)
    return AsyncStateReply(
        **_job_reply(call).to_json(),
        kind=asked.kind.value,
        door=asked.door.value,
        function_name=call.function_name,
        cancel_requested=call.cancel_requested,
        callback=None if status.callback is None else delivery_reply(status.callback),
        callback_url=asked.callback_url,
    )


def delivery_reply(job: Job) -> DeliveryReply:
    return DeliveryReply(invocation_id=job.parent_id, url=job.target, **_job_reply(job).to_json())


def _job_reply(job: Job) -> JobReply:
    """What calls and callbacks have in common."""
    return JobReply(
        id=job.id,
        function_id=job.function_id,
        status=job.state.value,
        attempts=[_attempt_reply(attempt) for attempt in job.history],
        error=job.error,
        created_at=iso(job.created_at_ms),
        next_attempt_at=iso(job.due_at_ms) if job.state is JobState.QUEUED and not job.held else None,
        finished_at=None if job.finished_at_ms is None else iso(job.finished_at_ms),
    )


def _attempt_reply(attempt: Attempt) -> AttemptReply:
    return AttemptReply(
        at=iso(attempt.at_ms), duration_ms=attempt.duration_ms, status=attempt.status, error=attempt.error
    )
