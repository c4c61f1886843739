"""Channels: messages get their numbers in the database, then go out, on every server that has subscribers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from isolet.clock import Clock
from isolet.database import realtime as stored
from isolet.database.connection import Database
from isolet.database.realtime import Draft
from isolet.domain.realtime import KEPT_MS, PROJECT_KEPT_BYTES, Message, check_data, check_word
from isolet.errors import IsoletError, LimitReached, TooManyRequests, Unavailable
from isolet.ids import ProjectId
from isolet.realtime import frames
from isolet.realtime.rooms import Occupant, Room, Rooms
from isolet.realtime.socket import text_frame
from isolet.realtime.topics import Topic
from isolet.tasks import Tasks
from isolet.telemetry import get_logger

log = get_logger("realtime")

WAITING_MAX = 1_000
_BATCH = 100
_PAUSE_S = 0.02
# A project is looked at each time when it published such a part of what it may keep.
_LOOKED_AT_SHARE = 8
_Waiting = tuple[Draft, asyncio.Future[int]]


class Channels:
    """One transaction of a project at a time, with all that it publishes meanwhile in the next: no project is before
    the others' writes with more than one. `most` is how many channels it may have, `kept_bytes` what all of them keep.
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        rooms: Rooms,
        tasks: Tasks,
        most: Callable[[ProjectId], int],
        kept_bytes: int = PROJECT_KEPT_BYTES,
    ) -> None:
        self._kept_bytes = kept_bytes
        self._database = database
        self._clock = clock
        self._rooms = rooms
        self._tasks = tasks
        self._most = most
        self._waiting: dict[ProjectId, list[_Waiting]] = {}
        # Bytes that a project published since it was last seen to that it keeps no more than it may.
        self._grown: dict[ProjectId, int] = {}
        self._repairing: set[Topic] = set()

    # Publishing.

    async def publish(self, project_id: ProjectId, channel: object, event: object, data: Any) -> int:
        """The message's number. It is kept by then, and on its way.

        Raises InvalidInput; LimitReached for a new channel that is one too many; TooManyRequests; StoreError.
        """
        draft = Draft(channel=check_word("channel", channel), event=check_word("event", event), data=check_data(data))
        waiting = self._waiting.get(project_id)
        if waiting is not None and len(waiting) >= WAITING_MAX:
            raise TooManyRequests("The project publishes more than is written", retry_after_s=1)
        written: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if waiting is None:
            self._waiting[project_id] = [(draft, written)]
            self._tasks.spawn(self._write(project_id), name="realtime publish")
        else:
            waiting.append((draft, written))
        return await written

    async def _write(self, project_id: ProjectId) -> None:
        waiting = self._waiting[project_id]
        try:
            while waiting:
                batch, waiting[:] = waiting[:_BATCH], waiting[_BATCH:]
                try:
                    await self._write_batch(project_id, batch)
                except IsoletError as exc:
                    for _, written in batch:
                        _settle(written, exc)
        finally:
            del self._waiting[project_id]
            for _, written in waiting:
                _settle(written, Unavailable("The server stops"))

    async def _write_batch(self, project_id: ProjectId, batch: list[_Waiting]) -> None:
        drafts = [draft for draft, _ in batch]
        most = self._most(project_id)
        numbers = await self._database.write(
            stored.insert_messages,
            project_id,
            drafts,
            now_ms=self._clock.now_ms(),
            channels_max=most,
            notify=self._database.shared,
        )
        for (draft, written), seq in zip(batch, numbers, strict=True):
            if seq is None:
                _settle(written, LimitReached(f"The project has {most} channels, as many as it may have"))
                continue
            message = Message(project_id=project_id, channel=draft.channel, seq=seq, event=draft.event, data=draft.data)
            self.deliver(message)
            _settle(written, seq)
        await self._shrink(project_id, sum(len(draft.data) for draft in drafts))
        if (room := self._rooms.find(project_id)) is not None:
            await room.has_room()

    async def _shrink(self, project_id: ProjectId, grown: int) -> None:
        grown = self._grown[project_id] = self._grown.get(project_id, 0) + grown
        if grown < self._kept_bytes // _LOOKED_AT_SHARE:
            return
        del self._grown[project_id]
        while await self._database.write(stored.shrink, project_id, self._kept_bytes):
            await asyncio.sleep(0)

    # Going out.

    def deliver(self, message: Message) -> None:
        """A message was written, here or on another server."""
        room = self._rooms.find(message.project_id)
        topic = room.topics.get(message.channel) if room is not None else None
        if room is None or topic is None:
            return
        room.send_out(topic, topic.take(message))
        if topic.has_gap:
            self.repair(message.project_id, topic)

    def repair(self, project_id: ProjectId, topic: Topic) -> None:
        """Read what this server did not hear of."""
        if topic not in self._repairing:
            self._repairing.add(topic)
            self._tasks.spawn(self._repair(project_id, topic), name="realtime repair")

    async def _repair(self, project_id: ProjectId, topic: Topic) -> None:
        try:
            gap = True
            while gap:
                # Whoever hears of a message hears of it once it can be read, as can those before it.
                heard, after = topic.newest, topic.last
                now_ms = self._clock.now_ms()
                head, kept = await self._database.read(stored.read_channel, project_id, topic.name, after, now_ms)
                room = self._rooms.find(project_id)
                if room is None or room.topics.get(topic.name) is not topic:
                    return
                for message in kept:
                    room.send_out(topic, topic.take(message))
                room.send_out(topic, topic.pass_over_gaps(max(head, heard)))
                # A newer message may have come meanwhile, and those before it were not read.
                gap = topic.has_gap
        except IsoletError as exc:
            log.error("cannot read messages that other servers published", error=exc.message)
        finally:
            self._repairing.discard(topic)

    async def subscribe(
        self, project_id: ProjectId, room: Room, occupant: Occupant, channel: str, since: int | None, id_: Any
    ) -> None:
        """Answer, then give what is kept after `since`, then what comes. Raises StoreError."""
        topic, subscription = room.subscribe(occupant, channel)
        now_ms = self._clock.now_ms()
        try:
            head, kept = await self._database.read(stored.read_channel, project_id, channel, since, now_ms)
        except BaseException:
            room.unsubscribe(occupant, channel)
            raise
        if topic.subscriptions.get(occupant) is not subscription:
            # It left, or subscribed anew, meanwhile.
            return
        room.send_out(topic, topic.begin(head))
        occupant.send(text_frame(frames.subscribed_channel(channel, id_)))
        if since is not None and since != head and (not kept or kept[0].seq > since + 1):
            occupant.send(text_frame(frames.missed(channel, since, kept[0].seq if kept else head + 1)))
        for message in kept:
            occupant.send(text_frame(frames.message(message)))
        subscription.release(head)

    # What is there.

    async def listed(self, project_id: ProjectId) -> list[dict[str, Any]]:
        """Channels that were published to, and those with subscribers on this server."""
        known = dict(await self._database.read(stored.list_channels, project_id, self._most(project_id)))
        room = self._rooms.find(project_id)
        topics = dict(room.topics) if room is not None else {}

        def listed() -> list[dict[str, Any]]:
            return [
                {
                    "name": name,
                    "subscribers": len(topics[name].subscriptions) if name in topics else 0,
                    "seq": known.get(name, 0),
                }
                for name in sorted(known.keys() | topics.keys())
            ]

        # In a thread: clients may subscribe to channels that nobody publishes to.
        return await asyncio.to_thread(listed)

    async def drop_old(self) -> None:
        """The background loop; ends by cancellation."""
        while True:
            await asyncio.sleep(KEPT_MS / 5_000)
            try:
                # In small steps, so that no other write waits long.
                while await self._database.write(stored.drop_old, self._clock.now_ms()):
                    await asyncio.sleep(_PAUSE_S)
            except IsoletError as exc:
                log.error("cannot delete old messages", error=exc.message)


def _settle(written: asyncio.Future[int], outcome: int | IsoletError) -> None:
    if written.done():
        return
    if isinstance(outcome, int):
        written.set_result(outcome)
    else:
        written.set_exception(outcome)
