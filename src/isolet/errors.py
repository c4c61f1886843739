"""The errors of Isolet, ordered by what a caller can do about them.

No error here knows an HTTP status: each door maps `code` to its own dialect in one table.

    IsoletError
    ├── RequestError                 the caller's request cannot be served as it stands
    │   ├── UpgradeRequired          another version of the WebSocket protocol is needed
    │   ├── InvalidInput             a value breaks a rule; `details` may name the field
    │   │   └── InvalidMember        a member of an object does; a dialect may have another name for it
    │   ├── Unauthenticated          no credentials, or credentials nobody issued
    │   ├── Forbidden                known caller, not allowed to do this
    │   ├── NotFound                 no such thing, or none that this caller may see
    │   │   └── NoHandler            the function's code has no handler for this event
    │   ├── MethodNotAllowed         the path exists, not with this method
    │   ├── Conflict                 the thing exists, or changed since the caller read it
    │   ├── NotDeployed              the function has no live version
    │   ├── LimitReached             the project has as many of these as it may have
    │   ├── TooLarge                 the body is over the limit
    │   └── TooManyRequests          try again after `retry_after_s`
    │       └── RateExceeded         the project used up its plan's minute
    ├── ExecutionError               the function ran, or tried to, and failed
    │   ├── HandlerFailed            it threw, or returned no Response
    │   ├── FunctionTimeout          over its time
    │   ├── FunctionCrashed          its process died, or would not start
    │   └── ClientDisconnected       the caller left before the reply was complete
    ├── BuildFailed                  the code does not compile, load, or define a handler
    ├── DeployFailed                 the deploy that the caller waited for failed
    ├── Unanswered                   another server did not answer, or not as it must
    └── PlatformError                our own fault, or the machine's
        ├── SettingsError            the operator's settings cannot be used
        ├── StoreError               the database cannot be used
        │   └── StoreRefused         it can, and will not take what it was given
        │       └── ValueRefused     a text or a number in it is one that no column holds
        ├── SecretsFailed            the secrets cannot be read or written
        ├── InvalidHead              an HTTP head would not be read as it was meant, so it is not sent
        └── Unavailable              stopping, or a part is not there yet
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class IsoletError(Exception):
    """Root of all errors. `code` is stable; `message` is for people and safe to show to the caller."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str, *, details: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details: Mapping[str, object] = details or {}


class RequestError(IsoletError):
    code = "invalid_request"


class UpgradeRequired(RequestError):
    """Another version of the WebSocket protocol is needed than the one that was asked for."""

    code = "upgrade_required"


class InvalidInput(RequestError):
    code = "invalid_input"


class InvalidMember(InvalidInput):
    """The message is the name of a member with `problem` behind it, as in `environment.A: must be a string`."""

    def __init__(self, member: str, problem: str) -> None:
        super().__init__(member + problem)
        self.member = member
        self.problem = problem

    def named(self, names: Mapping[str, str]) -> InvalidMember:
        """The same error where members have these names."""
        return type(self)(names.get(self.member, self.member), self.problem)


class Unauthenticated(RequestError):
    code = "unauthenticated"


class Forbidden(RequestError):
    code = "forbidden"


class NotFound(RequestError):
    code = "not_found"


class NoHandler(NotFound):
    """It was asked on an instance, so there is a record of it; `details` have its id."""


class MethodNotAllowed(RequestError):
    code = "method_not_allowed"

    def __init__(self, message: str, *, allowed: tuple[str, ...]) -> None:
        super().__init__(message, details={"allowed": list(allowed)})
        self.allowed = allowed


class Conflict(RequestError):
    code = "conflict"


class NotDeployed(RequestError):
    code = "not_deployed"


class LimitReached(RequestError):
    code = "limit_reached"


class TooLarge(RequestError):
    code = "too_large"


class TooManyRequests(RequestError):
    code = "too_many_requests"

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateExceeded(TooManyRequests):
    """The project used up its plan's requests of this minute."""


class ExecutionError(IsoletError):
    code = "execution_failed"


class HandlerFailed(ExecutionError):
    """The handler threw; `stack` names the user's own lines only, `said` is the error's message without its name.

    `no_retry`: the handler asked that nobody tries again.
    """

    code = "handler_failed"

    def __init__(
        self, message: str, *, said: str | None = None, stack: str | None = None, no_retry: bool = False
    ) -> None:
        super().__init__(message)
        self.said = message if said is None else said
        self.stack = stack
        self.no_retry = no_retry


class FunctionTimeout(ExecutionError):
    code = "function_timeout"

    def __init__(self, *, timeout_ms: int) -> None:
        super().__init__(f"Function execution timeout ({timeout_ms}ms)")
        self.timeout_ms = timeout_ms


class FunctionCrashed(ExecutionError):
    code = "function_crashed"


class ClientDisconnected(ExecutionError):
    code = "client_disconnected"


class BuildFailed(IsoletError):
    """Code that cannot be deployed. `line` and `column` count from 1; `text` is the offending line.

    `file` is the path of one of several files. Of a message that names a part of the code the beginning is told.
    """

    code = "build_failed"
    message_max_chars = 4_000

    def __init__(
        self,
        message: str,
        *,
        line: int | None = None,
        column: int | None = None,
        text: str | None = None,
        file: str | None = None,
    ) -> None:
        place = {"line": line, "column": column, "text": text}
        super().__init__(message[: self.message_max_chars], details=place if file is None else {"file": file, **place})
        self.file = file
        self.line = line
        self.column = column
        self.text = text


class DeployFailed(IsoletError):
    """A deploy that its caller waited for did not end well; `details` has the place in the code."""

    code = "deploy_failed"


class Unanswered(IsoletError):
    """What the host itself asked of another server had no answer, or none that can be used."""

    code = "unanswered"


class PlatformError(IsoletError):
    code = "internal_error"


class SettingsError(PlatformError):
    code = "invalid_settings"


class StoreError(PlatformError):
    code = "store_failed"


class StoreRefused(StoreError):
    code = "store_refused"


class ValueRefused(StoreRefused):
    """Half a surrogate pair, a NUL or a number beyond 64 bits: whoever sent it can send another."""


class SecretsFailed(PlatformError):
    """The log has the cause."""

    code = "secrets_failed"


class InvalidHead(PlatformError):
    code = "invalid_head"


class Unavailable(PlatformError):
    code = "unavailable"
