"""Which headers pass between a caller and a function."""

from __future__ import annotations

import re

from isolet.domain.access import KEY_PREFIX
from isolet.runtime.channel import Headers

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# Lengths are told anew; our own credentials and headers stay here (`design.md` section 5).
_NOT_TO_FUNCTION = _HOP_BY_HOP | {b"content-length", b"expect", b"x-api-key"}
_OURS = b"x-isolet-"
_CREDENTIALS = frozenset({b"authorization", b"proxy-authorization", b"cookie", b"x-api-key"})
_REDACTED = b"[redacted]"
_KEY_START = KEY_PREFIX.encode()
_STORED_MAX_BYTES = 4096


def to_function(headers: Headers) -> list[bytes]:
    """The header lines of a request that a function may see."""
    lines = []
    named: set[bytes] = set()
    for name, value in headers:
        if name in _NOT_TO_FUNCTION or name.startswith(_OURS):
            if name == b"connection" and value.lower() not in (b"keep-alive", b"close"):
                named.update(part.strip() for part in value.lower().split(b","))
            continue
        lines.append(b"%b: %b\r\n" % (name, value))
    if named:
        lines = [line for line in lines if line.partition(b":")[0] not in named]
    return lines


def to_caller(headers: Headers, invocation_id: str) -> Headers:
    """The headers of a reply that go back, with the id of the call."""
    passed = [
        (name, value)
        for name, value in headers
        if name not in _HOP_BY_HOP and not name.startswith(_OURS) and name != b"x-invocation-id"
    ]
    passed.append((b"x-invocation-id", invocation_id.encode()))
    return passed


class Recording:
    """What is kept of a request: nothing that opens a door. Knows how our keys look, the root key included."""

    def __init__(self, root_key: str) -> None:
        self._root_key = root_key.encode()
        self._keys = re.compile(re.escape(self._root_key) + rb"|" + KEY_PREFIX.encode() + rb"[A-Za-z0-9_-]+")

    def holds_key(self, data: bytes) -> bool:
        return _KEY_START in data or self._root_key in data

    def redacted(self, data: bytes) -> bytes:
        return self._keys.sub(_REDACTED, data)

    def headers(self, headers: Headers) -> bytes:
        """Lines `name: value`, at most 4 KiB of whole lines."""
        block = b"\n".join([name + b": " + (_REDACTED if name in _CREDENTIALS else value) for name, value in headers])
        if len(block) > _STORED_MAX_BYTES:
            block = block[: block.rfind(b"\n", 0, _STORED_MAX_BYTES + 1)] if b"\n" in block else b""
        return self.redacted(block) if self.holds_key(block) else block


def stored_headers(block: bytes) -> Headers:
    """The headers that `Recording.headers` kept, without those that were redacted."""
    pairs = [line.partition(b": ") for line in block.split(b"\n") if line]
    return [(name, value) for name, _, value in pairs if _REDACTED not in value]


def header_pairs(block: bytes) -> list[tuple[str, str]]:
    """Everything that `Recording.headers` kept, as text."""
    pairs = [line.partition(b": ") for line in block.split(b"\n") if line]
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, _, value in pairs]


def get(headers: Headers, wanted: bytes) -> bytes | None:
    """The first value of a header whose name is given in lower case."""
    for name, value in headers:
        if name == wanted:
            return value
    return None
