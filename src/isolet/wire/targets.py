"""What a request asks for: path and query of its target, and whether it asks to become a WebSocket."""

from __future__ import annotations

import re
from collections.abc import Sequence

from isolet.wire.heads import Headers
from isolet.wire.hosts import is_host

_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?]*)([^?]*)(?:\?(.*))?", re.DOTALL)


def split_target(url: bytes, hosts: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Path and query. Raises ValueError for a target that names no path, or another host than the request's.

    And for one with a fragment (RFC 9112, 3.2), which whoever stands before this server may have read another way.
    """
    if b"#" in url:
        raise ValueError("the target has a fragment")
    if url.startswith(b"/"):
        path, _, query = url.partition(b"?")
        return path, query
    absolute = _ABSOLUTE.fullmatch(url)
    if absolute is None or not is_host(absolute[1]) or [absolute[1].lower()] != [host.lower() for host in hosts]:
        raise ValueError("the target is no path of this host")
    return absolute[2] or b"/", absolute[3] or b""


def asks_for_websocket(headers: Headers) -> bool:
    options = b",".join(value.lower() for name, value in headers if name == b"connection").split(b",")
    asked = [value.lower() for name, value in headers if name == b"upgrade"]
    return b"upgrade" in (option.strip() for option in options) and asked[-1:] == [b"websocket"]
