"""What every dialect shares when it tells an error: statuses by code, and a fault of our own with an id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from isolet.errors import (
    InvalidInput,
    InvalidMember,
    IsoletError,
    MethodNotAllowed,
    PlatformError,
    SecretsFailed,
    StoreError,
    StoreRefused,
    TooManyRequests,
    Unavailable,
    UpgradeRequired,
    ValueRefused,
)
from isolet.ids import new_id
from isolet.telemetry import get_logger

log = get_logger("doors")

# Each dialect has its exceptions beside it; what is not named is 500.
STATUS = {
    "invalid_request": 400,
    "invalid_input": 422,
    "upgrade_required": 426,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "not_deployed": 409,
    "limit_reached": 422,
    "build_failed": 422,
    "deploy_failed": 422,
    "too_large": 413,
    "too_many_requests": 429,
    "handler_failed": 500,
    "function_timeout": 504,
    "function_crashed": 502,
    "client_disconnected": 499,
    "secrets_failed": 502,
    "unanswered": 502,
    "unavailable": 503,
}


class ErrorReply(Struct, frozen=True, kw_only=True):
    """`body` is what is sent as JSON."""

    status: int
    body: Any
    headers: dict[str, str]


def status_of(error: IsoletError, table: dict[str, int]) -> int:
    return table.get(error.code, 500)


def headers_of(error: IsoletError) -> dict[str, str]:
    """`Allow`, `Retry-After`, `Upgrade` and `X-Invocation-Id`, where the error has them."""
    headers = {}
    if isinstance(error, MethodNotAllowed):
        headers["allow"] = ", ".join(error.allowed)
    if isinstance(error, TooManyRequests):
        headers["retry-after"] = str(error.retry_after_s)
    if isinstance(error, UpgradeRequired):
        headers |= {"upgrade": "websocket", "sec-websocket-version": "13"}
    if "invocation_id" in error.details:
        headers["x-invocation-id"] = str(error.details["invocation_id"])
    return headers


def public_error(error: Exception, names: Mapping[str, str] | None = None) -> IsoletError:
    """The error to tell: our own faults become one sentence with an id that stands in the log.

    A store that cannot be used now passes, which callers are told so that they try again.

    `names` are what the dialect calls members that have another name here.
    """
    if isinstance(error, InvalidMember):
        return error.named(names or {})
    if isinstance(error, Unavailable | SecretsFailed):
        return error
    if isinstance(error, ValueRefused):
        # Each text has its own check, which names it; this is for one that was forgotten.
        log.warning("a request has a text or a number that cannot be stored", error=error.message)
        return InvalidInput("The request holds a text or a number that cannot be stored")
    if isinstance(error, IsoletError) and not isinstance(error, PlatformError):
        return error
    fault = new_id()
    log.error("request failed", fault=fault, exc_info=error)
    ran = getattr(error, "details", {}).get("invocation_id")
    details = {"invocation_id": ran} if ran else None
    if isinstance(error, StoreError) and not isinstance(error, StoreRefused):
        return Unavailable(f"The server cannot use its database now; try again later ({fault})", details=details)
    return PlatformError(f"Internal server error ({fault})", details=details)
