"""The native API's JSON of asynchronous calls and the deliveries of their callbacks."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from isolet.clock import iso
from isolet.domain.http_jobs import CallPayload, ReplyHead
from isolet.domain.jobs import Attempt, Job, JobState
from isolet.jobs.queue import Status


def call_summary(call: Job) -> dict[str, Any]:
    """As a record's summary, as far as it is known before there is one."""
    asked, reply = CallPayload.of(call), ReplyHead.of(call)
    return {
        "id": call.id,
        "function_id": call.function_id,
        "function_name": call.function_name,
        "version": None,
        "door": asked.door.value,
        "kind": asked.kind.value,
        "status": call.state.value,
        "outcome": None,
        "status_code": None if reply is None else reply.status,
        "method": asked.method,
        "path": unquote(call.target.partition("?")[0]),
        "error": call.error,
        "created_at": iso(call.created_at_ms),
        "started_at": None,
        "duration_ms": None,
        "cold_start": None,
    }


def status_object(status: Status) -> dict[str, Any]:
    """All but the result: see `job_results`."""
    call, asked = status.call, CallPayload.of(status.call)
    return {
        **_job_object(call),
        "kind": asked.kind.value,
        "door": asked.door.value,
        "function_name": call.function_name,
        "cancel_requested": call.cancel_requested,
        "callback": None if status.callback is None else delivery_object(status.callback),
        "callback_url": asked.callback_url,
    }


def delivery_object(job: Job) -> dict[str, Any]:
    return {"invocation_id": job.parent_id, "url": job.target, **_job_object(job)}


def _job_object(job: Job) -> dict[str, Any]:
    """What calls and callbacks have in common."""
    return {
        "id": job.id,
        "function_id": job.function_id,
        "status": job.state.value,
        "attempts": [attempt_object(attempt) for attempt in job.history],
        "error": job.error,
        "created_at": iso(job.created_at_ms),
        "next_attempt_at": iso(job.due_at_ms) if job.state is JobState.QUEUED and not job.held else None,
        "finished_at": None if job.finished_at_ms is None else iso(job.finished_at_ms),
    }


def attempt_object(attempt: Attempt) -> dict[str, Any]:
    return {
        "at": iso(attempt.at_ms),
        "duration_ms": attempt.duration_ms,
        "status": attempt.status,
        "error": attempt.error,
    }
