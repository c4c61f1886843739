"""What is kept of a call: nothing that opens a door, no value of a secret, and no more than fits."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from isolet.domain.access import KEY_PREFIX, TOKEN_PREFIX
from isolet.domain.invocations import ConsoleLine, Invocation, cut_body, storable
from isolet.domain.limits import RECORDED_BODY_MAX_BYTES
from isolet.domain.outgoing import OutgoingEvent
from isolet.domain.own_keys import OwnKeys
from isolet.domain.redaction import Redactor
from isolet.wire.channel import Headers

# Pages cannot set headers on WebSockets, so some send their token as a subprotocol.
_CREDENTIALS = frozenset({b"authorization", b"proxy-authorization", b"cookie", b"sec-websocket-protocol", b"x-api-key"})
_REDACTED = b"[redacted]"
_TOKEN = r"(?<![A-Za-z0-9])" + TOKEN_PREFIX + "[A-Za-z0-9_-]{20,}"
_STARTS = (KEY_PREFIX, TOKEN_PREFIX)
_START_BYTES = tuple(start.encode() for start in _STARTS)
_HEADERS_MAX_BYTES = 4096
_QUERY_MAX_BYTES = 4096
_MORE_MAX_BYTES = 4096


class Kept(Struct, frozen=True, kw_only=True):
    """What is held of a call until its record is filled. `own` are the platform's headers, beside its caller's.

    Bodies go beyond the limit by `more_bytes`, so that a value which begins in the part that is recorded is seen; a
    call that is not `whole` broke off.
    """

    recording: Redaction
    headers: Headers
    own: Sequence[tuple[bytes, bytes]] = ()
    query: bytes
    response: bytes
    redactor: Redactor | None
    whole: bool

    @staticmethod
    def more_bytes(redactor: Redactor | None) -> int:
        """Of a longer value the beginning is enough."""
        return min(redactor.longest if redactor is not None else 0, _MORE_MAX_BYTES) + 1


class Redaction:
    """Knows how our keys look, the root key included."""

    def __init__(self, root_key: str) -> None:
        others = re.escape(KEY_PREFIX) + "[A-Za-z0-9_-]+|" + _TOKEN
        self._own = OwnKeys(root_key)
        self._root_text, self._keys_in_text = root_key, re.compile(f"{re.escape(root_key)}|{others}")
        self._keys = re.compile(b"%b|%b" % (self._own.root_pattern, others.encode()))

    def words(self, call: Invocation) -> None:
        """Take keys out of what a call failed with: it is shown before its record is filled."""
        if call.error:
            call.error, call.stack = self._text(call.error), self._text(call.stack) if call.stack else None

    def fill(self, call: Invocation, kept: Kept) -> None:
        """Cut and redact what was kept of a call, whose `request_body` holds its own so far. Not for the loop."""
        request, path, query, response = call.request_body, call.path, kept.query, kept.response
        redactor, whole = kept.redactor, kept.whole
        call.request_truncated = len(request) > RECORDED_BODY_MAX_BYTES
        call.response_truncated = len(response) > RECORDED_BODY_MAX_BYTES
        headers = self.headers([*kept.headers, *kept.own])
        if redactor is not None and redactor.longest:
            sent, redact = (request, query, path), redactor.data
            request = redact(request, cut=call.request_truncated or not whole)
            query, headers, path = redact(query), redact(headers), redactor.text(path)
            call.request_redacted = (request, query, path) != sent
            response = redact(response, cut=call.response_truncated or not whole)
        if self._holds_key(request) or (query and self._holds_key(query)):
            request, query = self._keys.sub(_REDACTED, request), self._keys.sub(_REDACTED, query)
            call.request_redacted = True
        shown = self._text(path)
        call.request_redacted = call.request_redacted or shown != path
        call.path = storable(shown)
        if self._holds_key(response):
            response = self._keys.sub(_REDACTED, response)
        call.request_headers = headers
        if query:
            call.query = storable(query[:_QUERY_MAX_BYTES].decode(errors="replace"))
            call.request_truncated = call.request_truncated or len(query) > _QUERY_MAX_BYTES
        call.request_body, _ = cut_body(request)
        call.response_body, _ = cut_body(response)

    def headers(self, headers: Headers) -> bytes:
        """Lines `name: value`, at most 4 KiB of whole lines."""
        block = b"\n".join(
            [b"%b: %b" % (name, _REDACTED if name in _CREDENTIALS else value) for name, value in headers]
        )
        may_hold = self._own.may_hold(block)
        if may_hold:
            lines = [
                b"%b: %b" % (name, _REDACTED if name in _CREDENTIALS or self._own.hold(value) else value)
                for name, value in headers
            ]
            block = b"\n".join(lines)
        if len(block) > _HEADERS_MAX_BYTES:
            block = block[: max(block.rfind(b"\n", 0, _HEADERS_MAX_BYTES + 1), 0)]
        return self._keys.sub(_REDACTED, block) if may_hold else block

    def line(self, line: ConsoleLine) -> ConsoleLine:
        """What a call printed, without keys."""
        message, stack = self._text(line.message), self._text(line.stack) if line.stack else line.stack
        unchanged = message is line.message and stack is line.stack
        return line if unchanged else replace(line, message=message, stack=stack)

    def outgoing(self, event: OutgoingEvent) -> OutgoingEvent:
        """What is told of a call's own requests, without keys."""
        path, host = self._text(event.path), self._text(event.host)
        return event if path is event.path and host is event.host else event._replace(path=path, host=host)

    def _text(self, text: str) -> str:
        for start in _STARTS:
            if start in text:
                break
        else:
            if self._root_text not in text:
                return text
        return self._keys_in_text.sub(_REDACTED.decode(), text)

    def _holds_key(self, data: bytes) -> bool:
        for start in _START_BYTES:
            if start in data:
                return True
        return self._own.holds_root(data)


def stored_headers(block: bytes) -> Headers:
    """The headers that `Recording.headers` kept, without those that were redacted."""
    pairs = [line.partition(b": ") for line in block.split(b"\n") if line]
    return [(name, value) for name, _, value in pairs if _REDACTED not in value]


def header_pairs(block: bytes) -> list[tuple[str, str]]:
    """Everything that `Recording.headers` kept, as text."""
    pairs = [line.partition(b": ") for line in block.split(b"\n") if line]
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, _, value in pairs]
