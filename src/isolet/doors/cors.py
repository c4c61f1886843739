"""Cross-origin rules of a project's public routes: which pages of other origins a browser may let call them."""

from __future__ import annotations

from collections.abc import Sequence

from isolet.doors.http import Headers
from isolet.invoke.headers import get

_ANY = "*"
_METHODS = b"GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"
_MAX_AGE_S = b"600"
_ALLOW_ORIGIN = b"access-control-allow-origin"


def preflight(headers: Headers, allowed: Sequence[str]) -> Headers | None:
    """The headers that answer a browser's question; None when this is none, or its origin is not allowed."""
    asked = get(headers, b"access-control-request-method")
    granted = grant(headers, allowed)
    if asked is None or get(granted, _ALLOW_ORIGIN) is None:
        return None
    answer = [*granted, (b"access-control-allow-methods", _METHODS), (b"access-control-max-age", _MAX_AGE_S)]
    wanted = get(headers, b"access-control-request-headers")
    if wanted:
        answer.append((b"access-control-allow-headers", wanted))
    return answer


def grant(headers: Headers, allowed: Sequence[str]) -> Headers:
    """What lets a page of the request's origin read the reply; nothing where it may not.

    With `*` every page may, without credentials; a listed origin may send credentials.
    """
    origin = get(headers, b"origin")
    if origin is None:
        return []
    if origin.decode("latin-1") in allowed:
        return [(_ALLOW_ORIGIN, origin), (b"access-control-allow-credentials", b"true"), (b"vary", b"Origin")]
    if _ANY in allowed:
        return [(_ALLOW_ORIGIN, b"*")]
    return [(b"vary", b"Origin")] if allowed else []


def add(reply: Headers, granted: Headers) -> Headers:
    """A reply's headers with what was granted; what the function says itself stands."""
    if not granted or get(reply, _ALLOW_ORIGIN) is not None:
        return reply
    return [*reply, *granted]
