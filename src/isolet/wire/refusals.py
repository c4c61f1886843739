"""What a client is told, in JSON, of a request that no application sees."""

from __future__ import annotations

import json

from isolet.wire import heads


def refusal_of(status: int, text: str) -> bytes:
    """Says what is wrong with a request, as the last thing on its connection."""
    body = json.dumps({"error": text}).encode()
    told = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    return heads.reply(status, heads.lines(told)) + body
