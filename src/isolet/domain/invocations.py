"""The record of one call of a function, through whichever door."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct, field

from isolet.domain.kills import KillReport
from isolet.domain.limits import ERROR_MAX_CHARS, RECORDED_BODY_MAX_BYTES
from isolet.domain.outgoing import OutgoingEvent
from isolet.ids import FunctionId, InvocationId, ProjectId

_STORED_FOR = dict.fromkeys((0, *range(0xD800, 0xE000)), "\ufffd")

# The status of a call that went on as a WebSocket, however that ended: it lasts as long as its caller likes.
SWITCHED = 101
# What the rest of a record takes, its places in indexes included; and of a console line.
_RECORD_BYTES = 600
_LINE_BYTES = 40


class Door(StrEnum):
    KAPSO = "kapso"
    BUTTERBASE = "butterbase"
    ALTAIR = "altair"
    NATIVE = "native"
    PUBLIC = "public"


class Kind(StrEnum):
    SYNC = "sync"
    ASYNC = "async"
    CRON = "cron"
    WEBSOCKET = "websocket"
    FLOW = "flow"


class Outcome(StrEnum):
    """How a call ended. A reply of the function's own is `ok` whatever its status."""

    OK = "ok"
    HANDLER_FAILED = "handler_failed"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    DISCONNECTED = "disconnected"
    INTERNAL = "internal"


class ConsoleLine(Struct, frozen=True, kw_only=True):
    """One line a function printed. `level` is log, info, warn, error or debug; `stack` comes with errors.

    `cut`: the text was longer. `ends`: it stands for all that the call printed from here on, which is not kept.
    """

    level: str
    message: str
    at_ms: int
    stack: str | None = None
    cut: bool = False
    ends: bool = False


class Invocation(Struct, kw_only=True):
    """A call in progress or ended. Mutable until it is handed to the recorder; bodies are already cut.

    `duration_us` is the whole; `queue_us` of it was waiting for room, `cold_start_us` for an instance to start.
    `request_headers` are lines `name: value`; `request_redacted`: body, query or path held a secret or a key.
    `response_bytes` counts the whole reply's body; `memory_bytes` is the private resident memory of the instance as the
    call ended, 0 when none took it. `console_truncated`: it printed more than `console` has.
    `outgoing` tells of the requests that it made: see `isolet.domain.outgoing.requests_of`.
    """

    id: InvocationId
    project_id: ProjectId
    function_id: FunctionId
    function_name: str
    version: int
    door: Door
    method: str
    path: str
    started_at_ms: int
    kind: Kind = Kind.SYNC
    status: int = 0
    outcome: Outcome = Outcome.OK
    duration_us: int = 0
    cold_start_us: int = 0
    queue_us: int = 0
    kill_report: KillReport | None = None
    error: str | None = None
    stack: str | None = None
    request_body: bytes = b""
    request_truncated: bool = False
    response_body: bytes = b""
    response_truncated: bool = False
    console: list[ConsoleLine] = field(default_factory=list)
    console_truncated: bool = False
    outgoing: list[OutgoingEvent] = field(default_factory=list)
    query: str = ""
    request_headers: bytes = b""
    request_redacted: bool = False
    response_bytes: int = 0
    memory_bytes: int = 0
    memory_limit_mb: int = 0

    @property
    def size_bytes(self) -> int:
        """About what its record takes."""
        size = _RECORD_BYTES + len(self.path) + len(self.query) + len(self.request_headers)
        size += len(self.request_body) + len(self.response_body)
        size += len(self.error or "") + len(self.stack or "")
        # Most calls have none of either, and a sum over nothing costs as much as all of the rest.
        if self.console:
            size += sum(len(line.message) + len(line.stack or "") + _LINE_BYTES for line in self.console)
        if self.outgoing:
            size += sum(event.size_bytes for event in self.outgoing)
        return size

    @property
    def failed(self) -> bool:
        """Whether an operator would call it an error: it has one, or the function answered 5xx."""
        return self.outcome is not Outcome.OK or self.status >= 500


def cut_error(text: str) -> str:
    """Stored error text: at most 512 characters, whatever the function threw."""
    return storable(text[:ERROR_MAX_CHARS])


def storable(text: str) -> str:
    """The text with U+FFFD for NUL and lone surrogates, which functions can print and throw but nothing can store."""
    try:
        text.encode()
    except UnicodeEncodeError:
        # Three times as quick as a pattern for a text that is full of them.
        return text.translate(_STORED_FOR)
    return text.replace("\0", "\ufffd")


def cut_body(body: bytes) -> tuple[bytes, bool]:
    """The first 16 KiB of a body, and whether more followed."""
    return body[:RECORDED_BODY_MAX_BYTES], len(body) > RECORDED_BODY_MAX_BYTES
