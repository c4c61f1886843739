"""What a door asks of a function, and how it is written to the function's instance."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

from msgspec import Struct

from isolet.domain.invocations import Door, Kind
from isolet.domain.origins import NOBODY, Origin
from isolet.errors import RequestError
from isolet.ids import InvocationId
from isolet.invoke.spool import Spooled
from isolet.runtime.config import PROTO_HEADER
from isolet.runtime.envelope import FETCH, Event
from isolet.wire import heads
from isolet.wire.callers import CLAIMS
from isolet.wire.channel import Headers
from isolet.wire.headers import get, to_function

_BODYLESS = frozenset({b"GET", b"HEAD", b"DELETE", b"OPTIONS"})
# Some clients send these as they are; the runtime takes no address that has them.
_NOT_IN_TARGET = re.compile(rb'["<>]')
# The runtime refuses longer ones, in words of its own.
_TARGET_MAX_BYTES = 65_000
# With its head, a body of this size is read in one piece.
_SMALL_BYTES = 2_048
_UPGRADE_LINES = heads.lines([(b"connection", b"Upgrade"), (b"upgrade", b"websocket")])
_HTTPS_LINE = heads.line(PROTO_HEADER.encode(), b"https")


class CallRequest(Struct, kw_only=True):
    """What a door hands over. `target` is the path and query that the function sees in `request.url`.

    `gone` resolves when the caller leaves; without it nobody waits. Header names are lower case. `invocation_id` is
    for calls that had an id before they ran.
    `own` are the platform's own headers, which nothing that the caller says takes away.
    `passed` are those of the headers that may reach a function, where they are not all of them.
    `origin` is what functions are told that this one calls.
    `event` is what the wrapper is to do with it. `own_origin`: the reply is on an origin of the function's own; else
    `asked` is the raw path that a client asked for.
    """

    door: Door
    method: bytes
    target: bytes
    path: str
    headers: Headers
    own: Sequence[tuple[bytes, bytes]] = ()
    body: bytes | Spooled | AsyncIterator[bytes]
    scheme: str = "http"
    gone: Callable[[], Coroutine[Any, Any, None]] | None = None
    event: Event = FETCH
    kind: Kind = Kind.SYNC
    invocation_id: InvocationId | None = None
    passed: Headers | None = None
    origin: Origin = NOBODY
    own_origin: bool = False
    asked: bytes = b""

    @property
    def is_large(self) -> bool:
        """Whether nobody can tell how much of it a process had read that ended meanwhile."""
        return not isinstance(self.body, bytes) or len(self.body) > _SMALL_BYTES

    def head(self, invocation_id: InvocationId, length: int | None) -> bytes:
        """The request line and the headers that the function sees; `length` is None for a body that comes in parts.

        Raises InvalidHead.
        """
        lines = to_function(self.headers if self.passed is None else self.passed)
        lines += heads.lines(self.own)
        if self.event.upgrade:
            lines.extend(_UPGRADE_LINES)
        if length is not None:
            if length or self.method not in _BODYLESS:
                lines.append(b"content-length: %d\r\n" % length)
        elif (told := get(self.headers, b"content-length")) is not None:
            lines.append(b"content-length: %b\r\n" % told)
        else:
            lines.append(b"transfer-encoding: chunked\r\n")
        if self.scheme == "https":
            lines.append(_HTTPS_LINE)
        lines.append(self.event.line(invocation_id.encode()))
        return heads.request(self.method, _escaped(self.target), lines)


def check_target(target: bytes) -> None:
    """Raises RequestError for one that is too long once it is written as an address must be."""
    if 3 * len(target) > _TARGET_MAX_BYTES and len(_escaped(target)) > _TARGET_MAX_BYTES:
        raise RequestError(f"The address is longer than {_TARGET_MAX_BYTES} bytes")


def _escaped(target: bytes) -> bytes:
    return target if _NOT_IN_TARGET.search(target) is None else _NOT_IN_TARGET.sub(_percent, target)


def stored_origin(headers: Headers) -> Origin:
    """For whom a call that was kept is made: the server wrote it into its headers, as only it can."""
    told = [header for header in headers if header[0] in CLAIMS]
    return Origin(told=told, scheme="https" if (b"x-forwarded-proto", b"https") in told else "http")


def _percent(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % ord(found[0])
