"""What calls are looked for by."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from isolet.domain.invocations import Door, Invocation, Kind
from isolet.ids import FunctionId, ProjectId


class Status(StrEnum):
    """How a call stands, or the class of the status that it ended with."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    OK_2XX = "2xx"
    REDIRECT_3XX = "3xx"
    CLIENT_4XX = "4xx"
    SERVER_5XX = "5xx"
    FAULT = "error"
    NO_FAULT = "info"
    NOT_2XX = "not-2xx"


class CallFilter(Struct, frozen=True, kw_only=True):
    """Calls of one function or one project, newest first. Times are in ms, `since_ms` included, `until_ms` not.

    `text` is looked for in path and error, in any case. `before` is the id after which the page begins.
    """

    project_id: ProjectId
    function_id: FunctionId | None = None
    door: Door | None = None
    status: Status | None = None
    kind: Kind | None = None
    text: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    before: str | None = None
    limit: int = 50


class CallPage(Struct, frozen=True, kw_only=True):
    """`following` is where the next page begins; None at the end. A page may be short, even empty, and not the last."""

    calls: Sequence[Invocation]
    following: str | None
