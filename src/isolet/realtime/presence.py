"""Who is there, in a project on this server: connections that said so, with what they say of themselves."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Protocol

from msgspec import Struct

from isolet.realtime import frames
from isolet.realtime.frames import Refused
from isolet.realtime.topics import Subscription

# Each who comes is told of all who are there.
TRACKED_MAX_BYTES = 262_144
_CLIENT_BYTES = 120


class Client(Protocol):
    """A connection, as presence sees it."""

    @property
    def id(self) -> str: ...
    @property
    def user_id(self) -> str | None: ...
    def send(self, frame: bytes) -> None: ...


class _Tracked(Struct, frozen=True):
    client: Client
    user_id: str | None
    size: int
    # What is shown of it, as JSON: who comes is sent that of all, and must not have it written for each.
    text: str


class Presence:
    """Each change gives the frame for the others that are tracked. `subscriptions` are theirs: who comes has heard of
    all changes before by then.
    """

    def __init__(self) -> None:
        self._tracked: dict[Client, _Tracked] = {}
        self._bytes = 0
        self._changes = 0
        self.subscriptions: dict[Any, Subscription] = {}

    def count(self) -> int:
        """The number of a change that the others are told of."""
        self._changes += 1
        return self._changes

    def state(self) -> Iterable[str]:
        """What is shown of each, as JSON."""
        return [one.text for one in self._tracked.values()]

    def track(self, client: Client, metadata: Any) -> str:
        """Raises Refused when there is no more room."""
        self._put(client, metadata)
        return frames.presence_join(self._tracked[client].text)

    def update(self, client: Client, metadata: Any) -> str | None:
        """None for a client that is not tracked. Raises Refused."""
        if client not in self._tracked:
            return None
        self._put(client, metadata)
        return frames.presence_update(client.id, metadata)

    def leave(self, client: Client) -> str | None:
        """None for a client that was not tracked."""
        gone = self._tracked.pop(client, None)
        self.subscriptions.pop(client, None)
        if gone is None:
            return None
        self._bytes -= gone.size
        return frames.presence_leave(client.id, gone.user_id)

    def _put(self, client: Client, metadata: Any) -> None:
        before = self._tracked.get(client)
        written = json.dumps(metadata, separators=(",", ":"))
        size = len(written) + _CLIENT_BYTES
        after = self._bytes - (before.size if before is not None else 0) + size
        if after > TRACKED_MAX_BYTES:
            raise Refused("Presence is full: the project's clients say too much of themselves")
        self._bytes = after
        text = frames.presence_client(client.id, client.user_id, written)
        self._tracked[client] = _Tracked(client, client.user_id, size, text)
        if before is None:
            self.subscriptions[client] = Subscription(client, self._changes, None)
