"""Which headers pass between a caller and a function."""

from __future__ import annotations

from isolet.wire import heads
from isolet.wire.heads import Headers

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
# Lengths are told anew; our own credentials and headers stay here.
_NOT_TO_FUNCTION = _HOP_BY_HOP | {b"content-length", b"expect", b"x-api-key"}
# What a `Connection` header may name without effect: a request cannot do without it.
_NOT_NAMED = frozenset({b"host"})
_EVERYDAY = (b"keep-alive", b"close", b"")
# A proxy in front may obey these, and send a file of its own in the place of the reply: nginx, Apache, lighttpd, H2O.
_TO_PROXIES = frozenset(
    {
        *(b"x-accel-redirect", b"x-accel-limit-rate", b"x-accel-expires", b"x-accel-charset", b"x-sendfile"),
        *(b"x-sendfile2", b"x-sendfile-temporary", b"x-lighttpd-send-file", b"x-lighttpd-send-tempfile"),
        *(b"x-litespeed-location", b"x-litespeed-purge", b"x-reproxy-url", b"x-reproxy-file"),
    }
)
# The server puts the date on every reply; that of what a function fetched and passes on would be a second one.
_NOT_TO_CALLER = _HOP_BY_HOP | _TO_PROXIES | {b"date", b"x-invocation-id"}
_OURS = b"x-isolet-"


def to_function(headers: Headers) -> list[bytes]:
    """The header lines of a request that a function may see, of those that its caller sent."""
    return heads.lines(forwarded(headers))


def forwarded(headers: Headers) -> Headers:
    """The caller's headers that go on to a function: none that belongs to the connection, and none that is ours."""
    names = dict(headers)
    passed = [header for header in headers if header[0] not in _NOT_TO_FUNCTION]
    if _OURS in b"\n".join(names):
        passed = [header for header in passed if not header[0].startswith(_OURS)]
    if len(names) == len(headers) and names.get(b"connection", b"").lower() in _EVERYDAY:
        return passed
    hop = named(headers)
    return [header for header in passed if header[0] not in hop]


def named(headers: Headers) -> frozenset[bytes]:
    """The names of the headers that a caller's `Connection` headers keep from going on (RFC 9110, 7.6.1)."""
    told = b",".join(value.lower() for name, value in headers if name == b"connection")
    names = {part.strip() for part in told.split(b",")}
    return frozenset(name for name in names - _NOT_NAMED if not name.startswith(_OURS))


def to_caller(headers: Headers, invocation_id: str) -> Headers:
    """The headers of a reply that go back, with the id of the call."""
    own = (b"x-invocation-id", invocation_id.encode())
    if not may_have(headers, _NOT_TO_CALLER, _OURS):
        return [*headers, own]
    passed = [header for header in headers if header[0] not in _NOT_TO_CALLER and not header[0].startswith(_OURS)]
    return [*passed, own]


def may_have(headers: Headers, names: frozenset[bytes], family: bytes) -> bool:
    """The quick look on the path of calls. False: no header has one of these names, or one with `family` in it."""
    told = dict(headers)
    return not names.isdisjoint(told) or family in b"\n".join(told)


def get(headers: Headers, wanted: bytes) -> bytes | None:
    """The first value of a header whose name is given in lower case."""
    for name, value in headers:
        if name == wanted:
            return value
    return None
