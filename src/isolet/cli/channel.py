"""Reads a channel of a project as a live connection does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from isolet.cli.session import Session
from isolet.client import errors

_OPEN_TIMEOUT_S = 30.0


def messages(session: Session, channel: str, since: int | None) -> Iterator[dict[str, Any]]:
    """The frames of messages. Raises ApiError when the server refuses, or ends it."""
    url = session.target.url.rstrip("/")
    address = f"ws{url.removeprefix('http')}/v1/{quote(session.project, safe='')}/realtime"
    headers = {"Authorization": f"Bearer {session.target.key}"}
    try:
        with connect(
            address, additional_headers=headers, open_timeout=_OPEN_TIMEOUT_S, proxy=None, max_size=None
        ) as socket:
            for text in socket:
                frame = json.loads(text)
                kind = frame.get("type")
                if kind == "connected":
                    wanted = {"type": "subscribe", "channel": channel}
                    socket.send(json.dumps(wanted if since is None else {**wanted, "since": since}))
                elif kind == "error":
                    raise errors.Forbidden(403, "forbidden", str(frame.get("message", frame.get("error"))))
                elif kind == "message":
                    yield frame
    except (OSError, WebSocketException, ValueError) as exc:
        raise errors.Unreachable(f"cannot follow {channel} at {url}: {exc}") from exc
    raise errors.Unreachable(f"cannot follow {channel} at {url}: the server ended the connection")
