"""The connections of this server by project, and what is sent to many of them.

What one project sends to its clients goes out some at a time, so that the others' calls run in between.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Protocol

from msgspec import Struct

from isolet.domain.realtime import Message
from isolet.ids import ProjectId
from isolet.realtime import frames
from isolet.realtime.presence import Client, Presence
from isolet.realtime.socket import text_frame
from isolet.realtime.topics import Member, Subscription, Topic
from isolet.tasks import Tasks

# Of a project on one server: each takes memory, the more so with a channel that nobody else subscribes to.
SUBSCRIPTIONS_MAX = 100_000
_AT_ONCE = 100
# Who publishes more than goes out waits, and no further change of presence is taken.
WAITING_MAX = 200


class _Told(Struct, frozen=True):
    """A frame for those who are among `receivers` when its turn comes and have not had it, all but `besides`."""

    receivers: Mapping[Member, Subscription]
    seq: int
    frame: bytes
    besides: Member | None = None


class Occupant(Member, Client, Protocol):
    """A connection, as its room sees it."""

    def close(self, code: int, reason: str) -> None: ...


class Room:
    """Of one project, for as long as it has connections."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Told] = deque()
        self._at_once = _AT_ONCE
        self._room = asyncio.Event()
        self._room.set()
        self._sending = False
        self.occupants: set[Occupant] = set()
        self.topics: dict[str, Topic] = {}
        self.subscriptions = 0
        self.presence = Presence()

    def subscribe(self, occupant: Occupant, channel: str) -> tuple[Topic, Subscription]:
        """It is held until it is released."""
        topic = self.topics.setdefault(channel, Topic(channel))
        self.subscriptions += occupant not in topic.subscriptions
        subscription = topic.subscriptions[occupant] = Subscription(occupant)
        return topic, subscription

    def unsubscribe(self, occupant: Occupant, channel: str) -> None:
        topic = self.topics.get(channel)
        if topic is not None:
            self.subscriptions -= topic.subscriptions.pop(occupant, None) is not None
            if not topic.subscriptions:
                del self.topics[channel]

    def leave(self, occupant: Occupant, channels: Iterable[str]) -> None:
        self.occupants.discard(occupant)
        for channel in channels:
            self.unsubscribe(occupant, channel)
        if (frame := self.presence.leave(occupant)) is not None:
            self.tell_others(occupant, frame)

    @property
    def is_busy(self) -> bool:
        """Whether more is on its way than may be."""
        return len(self._waiting) > WAITING_MAX

    def tell_others(self, occupant: Occupant, frame: str) -> None:
        """Tell the others that are tracked."""
        presence = self.presence
        self._send([_Told(presence.subscriptions, presence.count(), text_frame(frame), occupant)])

    def send_out(self, topic: Topic, messages: Iterable[Message]) -> None:
        """To all who subscribe; it waits its turn."""
        self._send([_Told(topic.subscriptions, one.seq, text_frame(frames.message(one))) for one in messages])

    async def has_room(self) -> None:
        """Wait until less is on its way than may be."""
        await self._room.wait()

    def _send(self, more: list[_Told]) -> None:
        self._waiting.extend(more)
        if self.is_busy:
            self._room.clear()
        if self._waiting and not self._sending:
            self._sending = True
            if len(self._waiting) == 1 and len(self._waiting[0].receivers) <= self._at_once:
                self._send_first_at_once()
            else:
                self._tasks.spawn(self._send_waiting(), name="realtime fan-out")

    def _send_first_at_once(self) -> None:
        """All of a turn of the loop together to no more than `_AT_ONCE`."""
        told = self._waiting.popleft()
        if self._at_once == _AT_ONCE:
            self._loop.call_soon(self._refill)
        receivers = list(told.receivers.values())
        self._at_once -= len(receivers) + 1
        _tell(receivers, told)
        self._sending = False

    def _refill(self) -> None:
        self._at_once = _AT_ONCE

    async def _send_waiting(self) -> None:
        try:
            while self._waiting:
                told = self._waiting.popleft()
                receivers = list(told.receivers.values())
                for start in range(0, len(receivers), _AT_ONCE):
                    _tell(receivers[start : start + _AT_ONCE], told)
                    await asyncio.sleep(0)
                if not self.is_busy:
                    self._room.set()
        finally:
            self._sending = False
            self._room.set()


def _tell(receivers: Iterable[Subscription], told: _Told) -> None:
    for one in receivers:
        if one.member is not told.besides:
            one.send(told.seq, told.frame)


class Rooms:
    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._rooms: dict[ProjectId, Room] = {}

    def find(self, project_id: ProjectId) -> Room | None:
        return self._rooms.get(project_id)

    def all(self) -> list[tuple[ProjectId, Room]]:
        return list(self._rooms.items())

    def enter(self, project_id: ProjectId, occupant: Occupant, *, most: int) -> Room | None:
        """None when the project has as many connections as it may."""
        room = self._rooms.get(project_id)
        if room is None:
            room = self._rooms[project_id] = Room(self._tasks)
        if len(room.occupants) >= most:
            return None
        room.occupants.add(occupant)
        return room

    def leave(self, project_id: ProjectId, occupant: Occupant, channels: Iterable[str]) -> None:
        room = self._rooms.get(project_id)
        if room is None:
            return
        room.leave(occupant, channels)
        if not room.occupants:
            del self._rooms[project_id]
