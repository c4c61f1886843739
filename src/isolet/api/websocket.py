"""Handshakes of WebSockets on the public routes: what a request needs that asks for one, and which pages may."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from websockets.utils import accept_key

from isolet.api import cors
from isolet.api.asgi import Headers, Scope
from isolet.errors import Forbidden, RequestError, UpgradeRequired
from isolet.wire.headers import get
from isolet.wire.upgrade import EXTENSION, Upgrade

_VERSION = b"13"
_KEY_BYTES = 16


def wanted(scope: Scope) -> Upgrade | None:
    """What the request asks for, when it asks to become a WebSocket."""
    extensions = scope.get("extensions")
    upgrade: Upgrade | None = extensions.get(EXTENSION) if extensions else None
    return upgrade


def check(scope: Scope) -> None:
    """RFC 6455, section 4.2.1. Raises RequestError, and UpgradeRequired for another version of the protocol."""
    headers = scope["headers"]
    if scope["method"] != "GET":
        raise RequestError("A WebSocket is asked for with GET")
    if get(headers, b"transfer-encoding") is not None or get(headers, b"content-length") not in (None, b"0"):
        raise RequestError("A request for a WebSocket has no body")
    if get(headers, b"sec-websocket-version") != _VERSION:
        raise UpgradeRequired("Sec-WebSocket-Version must be 13")
    if not _is_key(get(headers, b"sec-websocket-key") or b""):
        raise RequestError("Sec-WebSocket-Key must be 16 bytes in base64")


def admitted(headers: Headers, allowed: Sequence[str]) -> Headers:
    """The headers that the function may see. Raises Forbidden for pages that may not connect.

    Browsers let every page open a WebSocket to anywhere, and read what comes. So the rules for reading replies are
    applied here: a page of this origin may, and one of a listed origin; with `*` every page, without credentials.
    """
    origin = get(headers, b"origin")
    if origin is None or origin.partition(b"://")[2].lower() == (get(headers, b"host") or b"").lower():
        return headers
    granted = cors.grant(headers, allowed)
    if get(granted, b"access-control-allow-origin") is None:
        raise Forbidden("Pages of this origin may not connect: the project's allowed_origins do not name it")
    if get(granted, b"access-control-allow-credentials") is not None:
        return headers
    return [(name, value) for name, value in headers if name != b"cookie"]


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == _KEY_BYTES
    except ValueError:
        return False


def switching(scope: Scope, subprotocol: str | None) -> Headers:
    """The headers of a `101` of the platform's own, to a request that `check` let pass (RFC 6455, section 4.2.2)."""
    key = (get(scope["headers"], b"sec-websocket-key") or b"").decode("ascii")
    headers = [
        (b"connection", b"Upgrade"),
        (b"upgrade", b"websocket"),
        (b"sec-websocket-accept", accept_key(key).encode()),
    ]
    if subprotocol is not None:
        headers.append((b"sec-websocket-protocol", subprotocol.encode()))
    return headers
