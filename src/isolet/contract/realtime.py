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


class SentEvent(Body):
    """`payload` is any JSON; without it the function gets none."""

    event: str
    payload: Any = None


class RealtimeRules(Body):
    """`function` is the name of the function that is asked, with `subscribe` `function` only."""

    subscribe: Literal["public", "authenticated", "function"] = "authenticated"
    function: str | None = None
    max_connections: StrictInt | None = None
    max_frame_bytes: StrictInt | None = None


class PublishedReply(Reply):
    """`seq` counts the messages of the channel."""

    seq: int


class EventAnswerReply(Reply):
    """`data` is what a client gets in the `event_response`. `invocation_id` is null when nothing ran."""

    data: Any
    function_id: str
    invocation_id: str | None


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

    @operation("POST", "/projects/{slug}/realtime/events")
    def send_event(self, slug: str, body: SentEvent) -> EventAnswerReply:
        """Call the function of an event, as the frame of a client with this key does, without a connection."""

    @operation("GET", "/projects/{slug}/realtime")
    def get(self, slug: str) -> RealtimeReply:
        """Live connections of a project, and its channels."""

    @operation("PUT", "/projects/{slug}/realtime/settings")
    def set_rules(self, slug: str, body: RealtimeRules) -> RealtimeRulesReply:
        """Say who may subscribe to channels."""

    @operation("GET", "/projects/{slug}/realtime/settings")
    def get_rules(self, slug: str) -> RealtimeRulesReply:
        """Who may subscribe to channels."""
