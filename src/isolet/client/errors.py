"""What a client raises, by what its user can do about it.

ApiError
├── Unreachable          there is no server at the address, or it did not answer in time
├── UnexpectedReply      something answered that does not speak this API
└── Refused              the server's answer; `status`, `code`, `text` and `details` are its own
    ├── InvalidInput         400, 413 and 422: the request is to be changed
    │   ├── TooLarge
    │   ├── LimitReached     the project has used up what it may have
    │   └── BuildFailed      the code does not compile or load
    ├── Unauthenticated      no key, or not a valid one
    ├── Forbidden            the key lacks the role
    ├── NotFound             nothing of that name that the key sees
    ├── Conflict             not in this state
    │   └── NotDeployed
    ├── TooManyRequests      `retry_after_s` says when to come again
    └── ServerFailed         5xx: the fault is the server's
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from isolet.contract.models import ErrorReply, read
from isolet.errors import IsoletError

_SHOWN_CHARS = 200


class ApiError(IsoletError):
    code = "api_error"


class Unreachable(ApiError):
    code = "unreachable"


class UnexpectedReply(ApiError):
    code = "unexpected_reply"


class Refused(ApiError):
    """Its `code` is the server's, which is stable; `text` is for people."""

    def __init__(self, status: int, code: str, text: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"the server answered {status}: {text}", details=details)
        self.status = status
        self.code = code  # type: ignore[misc]
        self.text = text


class InvalidInput(Refused):
    pass


class TooLarge(InvalidInput):
    pass


class LimitReached(InvalidInput):
    pass


class BuildFailed(InvalidInput):
    pass


class DeployFailed(InvalidInput):
    pass


class Unauthenticated(Refused):
    pass


class Forbidden(Refused):
    pass


class NotFound(Refused):
    pass


class Conflict(Refused):
    pass


class NotDeployed(Conflict):
    pass


class TooManyRequests(Refused):
    """`retry_after_s` is None where the server does not say."""

    retry_after_s: int | None = None


class ServerFailed(Refused):
    pass


_BY_CODE: dict[str, type[Refused]] = {
    "too_large": TooLarge,
    "limit_reached": LimitReached,
    "build_failed": BuildFailed,
    "deploy_failed": DeployFailed,
    "not_deployed": NotDeployed,
}
_BY_STATUS: dict[int, type[Refused]] = {
    400: InvalidInput,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    422: InvalidInput,
    429: TooManyRequests,
}


def error_of(status: int, headers: Mapping[str, str], content: bytes) -> ApiError:
    """The error that a reply other than a good one is."""
    try:
        error = read(ErrorReply, json.loads(content)).error
    except (ValidationError, ValueError, RecursionError):
        return unexpected(status, content)
    kind = _BY_CODE.get(error.code) or _BY_STATUS.get(status) or (ServerFailed if status >= 500 else Refused)
    refused = kind(status, error.code, error.message, error.details)
    if isinstance(refused, TooManyRequests):
        retry_after = headers.get("retry-after", "")
        refused.retry_after_s = int(retry_after) if retry_after.isascii() and retry_after.isdigit() else None
    return refused


def unexpected(status: int, content: bytes) -> UnexpectedReply:
    return UnexpectedReply(f"the server answered {status}: {content[:_SHOWN_CHARS].decode(errors='replace')}")
