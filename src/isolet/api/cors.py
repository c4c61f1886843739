"""Cross-origin rules of functions: which pages of other origins a browser may let call them (`docs/decisions/0061`).

A project's list of origins stands above the function, `*` below it: with `*` a function that has rules of its own
decides alone, and one that has none may be read by every page, without credentials.
"""

from __future__ import annotations

from collections.abc import Sequence

from isolet.api.asgi import Headers
from isolet.routing.own_cors import OwnCors
from isolet.routing.routes import Route
from isolet.threads import work_for
from isolet.wire.headers import get

ANY = "*"
_METHODS = b"GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"
_MAX_AGE_S = b"600"
_ALLOW_ORIGIN = b"access-control-allow-origin"


def is_preflight(headers: Headers) -> bool:
    """Whether an OPTIONS request is a browser's question."""
    return get(headers, b"origin") is not None and get(headers, b"access-control-request-method") is not None


async def rules_for(route: Route, headers: Headers, listed: Sequence[str], own: OwnCors) -> Sequence[str]:
    """The origins that the platform grants for a function: nothing in the place of one that has rules of its own."""
    origin = get(headers, b"origin")
    named = [name for name in listed if name != ANY]
    if origin is None or ANY not in listed or origin.decode("latin-1") in named:
        return listed
    # Nobody has counted the request yet.
    work_for(route.project_id)
    return named if await own.has(route) else listed


def preflight(headers: Headers, allowed: Sequence[str], *, credentials: bool = True) -> Headers | None:
    """The headers that answer a browser's question; None when this is none, or its origin is not allowed."""
    asked = get(headers, b"access-control-request-method")
    granted = grant(headers, allowed, credentials=credentials)
    if asked is None or get(granted, _ALLOW_ORIGIN) is None:
        return None
    answer = [*granted, (b"access-control-allow-methods", _METHODS), (b"access-control-max-age", _MAX_AGE_S)]
    wanted = get(headers, b"access-control-request-headers")
    if wanted:
        answer.append((b"access-control-allow-headers", wanted))
    return answer


def grant(headers: Headers, allowed: Sequence[str], *, credentials: bool = True) -> Headers:
    """What lets a page of the request's origin read the reply; nothing where it may not.

    With `*` every page may, without credentials; a listed origin may send credentials.
    """
    origin = get(headers, b"origin")
    # Where some origins are listed, replies differ by it, also one that no page of another origin asked for.
    varies = [(b"vary", b"Origin")] if allowed and (len(allowed) > 1 or allowed[0] != ANY) else []
    if origin is None:
        return varies
    if origin.decode("latin-1") in allowed and origin != ANY.encode():
        may_send = [(b"access-control-allow-credentials", b"true")] if credentials else []
        return [(_ALLOW_ORIGIN, origin), *may_send, *varies]
    return [(_ALLOW_ORIGIN, ANY.encode()), *varies] if ANY in allowed else varies


def add(reply: Headers, granted: Headers) -> Headers:
    """A reply's headers with what was granted; what the function says itself stands.

    One that says that it differs by origin refused this one by silence.
    """
    if not granted or get(reply, _ALLOW_ORIGIN) is not None:
        return reply
    if (_ALLOW_ORIGIN, ANY.encode()) in granted and _differs_by_origin(reply):
        return reply
    return [*reply, *granted]


def _differs_by_origin(reply: Headers) -> bool:
    values = b",".join(value for name, value in reply if name == b"vary").lower()
    return b"origin" in [name.strip() for name in values.split(b",")]


def streaming(headers: Headers) -> Headers:
    """Events must reach the client as they are written: proxies on the way are told so."""
    if not (get(headers, b"content-type") or b"").startswith(b"text/event-stream"):
        return headers
    kept = [(name, value) for name, value in headers if name not in (b"cache-control", b"x-accel-buffering")]
    return [*kept, (b"cache-control", b"no-cache, no-transform"), (b"x-accel-buffering", b"no")]
