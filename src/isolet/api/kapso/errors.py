"""Errors in Kapso's form."""

from __future__ import annotations

from isolet.api.errors import STATUS, ErrorReply, headers_of, public_error, status_of
from isolet.errors import ExecutionError

_STATUS = {**STATUS, "not_deployed": 422}
_NAMES = {"response_mode": "invoke_response_mode"}


def error_reply(error: Exception) -> ErrorReply:
    """`{"error": "<text>"}`; a failed call adds `detail` and `invocation_id`."""
    told = public_error(error, _NAMES)
    if isinstance(told, ExecutionError):
        body = {"error": "Function execution failed", "detail": told.message[:512]}
        if "invocation_id" in told.details:
            body["invocation_id"] = str(told.details["invocation_id"])
        return ErrorReply(status=500, body=body, headers=headers_of(told))
    return ErrorReply(status=status_of(told, _STATUS), body={"error": told.message}, headers=headers_of(told))
