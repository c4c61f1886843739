"""Errors as the Butterbase API tells them: an object for management, flat for calls (`butterbase-facts.md` 2, 9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isolet.api.errors import STATUS, ErrorReply, headers_of, public_error, status_of
from isolet.errors import (
    BuildFailed,
    ExecutionError,
    FunctionCrashed,
    FunctionTimeout,
    HandlerFailed,
    IsoletError,
    NoHandler,
    NotDeployed,
    NotFound,
    RateExceeded,
    TooManyRequests,
)

_DOCS = "https://docs.butterbase.ai/errors#"
_BUSY_RETRY_S = 5
_NAMES = {"environment": "envVars"}
_STATUS = {**STATUS, "invalid_input": 400, "not_deployed": 404, "build_failed": 400}
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
    "limit_reached": ("QUOTA_EXCEEDED", "Delete what is not needed, or ask the operator for more."),
    "too_large": ("REQUEST_ERROR", "Send a smaller body."),
    "too_many_requests": ("QUOTA_RATE_LIMIT", "Wait for the seconds in `Retry-After` and try again."),
    "unavailable": ("INTERNAL_ERROR", "Try again in a moment."),
    "function_timeout": ("FUNCTION_TIMEOUT", "Make the function faster, or raise its timeoutMs."),
}
_INTERNAL = ("INTERNAL_ERROR", "Try again; if it stays, look the id up in the server's log.")


class Refusal(Exception):
    """A refusal that only this dialect tells apart, so it is not in `isolet.errors`."""

    def __init__(
        self, status: int, code: str, message: str, remediation: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        body = {"error": _object(code, message, remediation)}
        self.reply = ErrorReply(status=status, body=body, headers=dict(headers or {}))


def invalid_key() -> Refusal:
    """A key nobody issued."""
    remediation = "Use a key that exists; POST /isolet/v1/projects/{slug}/keys makes one."
    return Refusal(401, "AUTH_INVALID_API_KEY", "The API key is not valid, or was revoked", remediation)


def invalid_token() -> Refusal:
    """A bearer text that is no key."""
    remediation = "Management needs an API key; end users' tokens are for calls of functions."
    return Refusal(401, "AUTH_INVALID_TOKEN", "The token is not valid here", remediation)


def impersonation_forbidden(message: str) -> Refusal:
    remediation = "Only a key of this app may send X-Butterbase-As-User."
    return Refusal(403, "AUTH_IMPERSONATION_FORBIDDEN", message, remediation)


def impersonation_disabled() -> Refusal:
    message = "This function does not allow X-Butterbase-As-User"
    remediation = "Set allow_service_key_impersonation of the function to true."
    return Refusal(403, "AUTH_IMPERSONATION_DISABLED", message, remediation)


def error_reply(error: Exception) -> ErrorReply:
    """`{"error": {"code", "message", "remediation", "documentation_url", "details"?}}`."""
    if isinstance(error, Refusal):
        return error.reply
    told = public_error(error, _NAMES)
    body = _object(*_named(told))
    if told.details:
        body["details"] = dict(told.details)
    status = 500 if isinstance(told, ExecutionError) else status_of(told, _STATUS)
    return ErrorReply(status=status, body={"error": body}, headers=headers_of(told))


def _named(error: IsoletError) -> tuple[str, str, str]:
    code, remediation = _CODES.get(error.code, _INTERNAL)
    return code, _located(error), remediation


def _located(error: IsoletError) -> str:
    """The message; of code that does not build with the place, because the published clients show no details."""
    if isinstance(error, BuildFailed) and error.line is not None:
        return f"{error.message} (line {error.line}, column {error.column})"
    return error.message


def _object(code: str, message: str, remediation: str) -> dict[str, Any]:
    url = _DOCS + code.lower().replace("_", "-")
    return {"code": code, "message": message, "remediation": remediation, "documentation_url": url}


def call_error_reply(error: Exception, *, with_stack: bool) -> ErrorReply:
    """What the caller of a function is told. The stack is for those who hold a key of the project."""
    if isinstance(error, Refusal):
        return error.reply
    told = public_error(error)
    headers = headers_of(told)
    match told:
        case HandlerFailed():
            return ErrorReply(
                status=500, body={"error": told.said, "stack": told.stack if with_stack else None}, headers=headers
            )
        case FunctionTimeout():
            body = {"error": "function_timeout", "message": told.message, "duration_ms": told.timeout_ms}
            return ErrorReply(status=504, body=body, headers=headers)
        case FunctionCrashed():
            return ErrorReply(status=502, body={"error": "function_crashed", "message": told.message}, headers=headers)
        case RateExceeded():
            return error_reply(told)
        case TooManyRequests():
            headers["retry-after"] = str(_BUSY_RETRY_S)
            body = {"error": "Concurrency limit reached", "message": told.message}
            return ErrorReply(status=429, body=body, headers=headers)
        case NoHandler():
            return ErrorReply(status=404, body={"error": told.message}, headers=headers)
        case NotFound() | NotDeployed():
            return ErrorReply(status=404, body={"error": "Function not found"}, headers=headers)
        case _:
            return error_reply(told)
