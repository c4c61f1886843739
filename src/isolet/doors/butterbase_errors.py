"""Errors as the Butterbase API tells them: an object for management, flat for calls (`butterbase-facts.md` 2, 9)."""

from __future__ import annotations

import re
from typing import Any

from isolet.doors.errors import ErrorReply, headers_of, public_error, status_of
from isolet.errors import (
    ExecutionError,
    Forbidden,
    FunctionCrashed,
    FunctionTimeout,
    HandlerFailed,
    NotDeployed,
    NotFound,
    TooManyRequests,
    Unauthenticated,
)

_DOCS = "https://docs.butterbase.ai/errors#"
_BUSY_RETRY_S = 5
_STATUS = {
    "invalid_request": 400,
    "invalid_input": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "not_deployed": 404,
    "build_failed": 400,
    "too_large": 413,
    "too_many_requests": 429,
    "unavailable": 503,
}
_CODES = {
    "invalid_request": ("REQUEST_ERROR", "Check the request and send it again."),
    "invalid_input": ("VALIDATION_INVALID_SCHEMA", "Correct the named field and send the request again."),
    "unauthenticated": ("AUTH_REQUIRED", "Send an API key as `Authorization: Bearer <key>` or `X-API-Key: <key>`."),
    "forbidden": ("AUTH_INSUFFICIENT_PERMISSIONS", "Use a key whose role allows this."),
    "not_found": (
        "RESOURCE_NOT_FOUND",
        "Check the app id and the name; GET /v1/{app_id}/functions lists what exists.",
    ),
    "method_not_allowed": ("REQUEST_ERROR", "Use one of the methods in the `Allow` header."),
    "conflict": ("RESOURCE_CONFLICT", "Read the resource again and repeat the change."),
    "not_deployed": ("RESOURCE_NOT_FOUND", "Deploy the function first."),
    "build_failed": ("VALIDATION_INVALID_SCHEMA", "Correct the code at the given line and deploy again."),
    "too_large": ("REQUEST_ERROR", "Send a smaller body."),
    "too_many_requests": ("QUOTA_RATE_LIMIT", "Wait for the seconds in `Retry-After` and try again."),
    "unavailable": ("INTERNAL_ERROR", "Try again in a moment."),
    "function_timeout": ("FUNCTION_TIMEOUT", "Make the function faster, or raise its timeoutMs."),
}
_INTERNAL = ("INTERNAL_ERROR", "Try again; if it stays, look the id up in the server's log.")
_ERROR_NAME = re.compile(r"\AError: ")


class InvalidKey(Unauthenticated):
    """A key nobody issued."""

    dialect = (
        "AUTH_INVALID_API_KEY",
        "Use a key that exists; POST /isolet/v1/projects/{slug}/keys makes one.",
    )


class InvalidToken(Unauthenticated):
    """A bearer text that is no key."""

    dialect = ("AUTH_INVALID_TOKEN", "Management needs an API key; end users' tokens are for calls of functions.")


class ImpersonationForbidden(Forbidden):
    dialect = ("AUTH_IMPERSONATION_FORBIDDEN", "Only a key of this app may send X-Butterbase-As-User.")


class ImpersonationDisabled(Forbidden):
    dialect = ("AUTH_IMPERSONATION_DISABLED", "Set allow_service_key_impersonation of the function to true.")


def error_reply(error: Exception) -> ErrorReply:
    """`{"error": {"code", "message", "remediation", "documentation_url", "details"?}}`."""
    told = public_error(error)
    code, remediation = getattr(told, "dialect", None) or _CODES.get(told.code, _INTERNAL)
    body: dict[str, Any] = {
        "code": code,
        "message": told.message,
        "remediation": remediation,
        "documentation_url": _DOCS + code.lower().replace("_", "-"),
    }
    if told.details:
        body["details"] = dict(told.details)
    status = 500 if isinstance(told, ExecutionError) else status_of(told, _STATUS)
    return ErrorReply(status=status, body={"error": body}, headers=headers_of(told))


def call_error_reply(error: Exception, *, with_stack: bool) -> ErrorReply:
    """What the caller of a function is told. The stack is for those who hold a key of the project."""
    told = public_error(error)
    headers = headers_of(told)
    match told:
        case HandlerFailed():
            message = _ERROR_NAME.sub("", told.message)
            return ErrorReply(
                status=500, body={"error": message, "stack": told.stack if with_stack else None}, headers=headers
            )
        case FunctionTimeout():
            body = {"error": "function_timeout", "message": told.message, "duration_ms": told.timeout_ms}
            return ErrorReply(status=504, body=body, headers=headers)
        case FunctionCrashed():
            return ErrorReply(status=502, body={"error": "function_crashed", "message": told.message}, headers=headers)
        case TooManyRequests():
            headers["retry-after"] = str(_BUSY_RETRY_S)
            body = {"error": "Concurrency limit reached", "message": told.message}
            return ErrorReply(status=429, body=body, headers=headers)
        case NotFound() | NotDeployed():
            return ErrorReply(status=404, body={"error": "Function not found"}, headers=headers)
        case _:
            return error_reply(told)
