"""Live connections of clients: publishing to channels, and who may subscribe."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import StrictInt

from isolet.contract.models import Body, Reply
from isolet.contract.operations import Mode, Resource, operation


class Publication(Body):
    """`data` is any JSON; null without it."""

    channel: str
    event: str
    data: Any = None


class RealtimeRules(Body):
    """`function` is the name of the function that is asked, with `subscribe` `function` only."""

    subscribe: Literal["public", "authenticated", "function"] = "authenticated"
    function: str | None = None
    max_connections: StrictInt | None = None
    max_frame_bytes: StrictInt | None = None


class PublishedReply(Reply):
    """`seq` counts the messages of the channel."""

    seq: int


class ChannelState(Reply):
    name: str
    subscribers: int
    seq: int


class RealtimeReply(Reply):
    """Connections and subscribers are those of the server that answers."""

    connections: int
    channels: list[ChannelState]


class RealtimeRulesReply(Reply):
    subscribe: str
    function: str | None
    max_connections: int | None
    max_frame_bytes: int | None


class Realtime(Resource[Mode]):
    tag = "realtime"

    @operation("POST", "/projects/{slug}/realtime/publish", status=202)
    def publish(self, slug: str, body: Publication) -> PublishedReply:
        """Send a message to all who are subscribed to a channel."""

    @operation("GET", "/projects/{slug}/realtime")
    def get(self, slug: str) -> RealtimeReply:
        """Live connections of a project, and its channels."""

    @operation("PUT", "/projects/{slug}/realtime/settings")
    def set_rules(self, slug: str, body: RealtimeRules) -> RealtimeRulesReply:
        """Say who may subscribe to channels."""

    @operation("GET", "/projects/{slug}/realtime/settings")
    def get_rules(self, slug: str) -> RealtimeRulesReply:
        """Who may subscribe to channels."""
