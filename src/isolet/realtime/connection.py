"""One live connection: reads its client's frames, and does what they ask for, in order.

Events run one after the other; so do, beside them, the frames that ask for something else. What waits is bounded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from msgspec import Struct

from isolet.clock import Clock
from isolet.domain.projects import Project
from isolet.errors import IsoletError
from isolet.identity.identity import TokenRefused
from isolet.ids import ProjectId, new_id
from isolet.realtime import frames
from isolet.realtime.calls import Visitor
from isolet.realtime.channels import Channels
from isolet.realtime.frames import (
    ChannelSubscribed,
    ChannelUnsubscribed,
    EventSent,
    Frame,
    PresenceTracked,
    PresenceUpdated,
    Refused,
    TableSubscribed,
    TableUnsubscribed,
    TokenGiven,
)
from isolet.realtime.identity import Identity
from isolet.realtime.rooms import SUBSCRIPTIONS_MAX, Room, Rooms
from isolet.realtime.socket import Socket, Unwanted, text_frame
from isolet.realtime.timing import Due, Pace, Timing
from isolet.rounds import Rounds
from isolet.tasks import Tasks
from isolet.telemetry import get_logger
from isolet.threads import work_for
from isolet.turns import Turns

log = get_logger("realtime")

WAITING_MAX = 32
CHANNELS_MAX = 100
# Larger frames are read in a thread.
_SMALL_CHARS = 16_384
NORMAL, GOING_AWAY, POLICY, LATER = 1000, 1001, 1008, 1013
AUTH_FAILED = "Authentication failed"
_BUSY = "busy"


class Doing(Protocol):
    """What a connection asks its server for."""

    async def identify(self, project_id: ProjectId, token: str) -> Identity:
        """Raises TokenRefused."""

    async def may_subscribe(self, connection: Connection, frame: ChannelSubscribed) -> bool:
        """Raises Refused when that cannot be asked now."""

    async def run_event(self, connection: Connection, frame: EventSent) -> str:
        """The frame that answers an event."""


class Means(Struct, frozen=True, kw_only=True):
    """What every connection works with. `reading` are the turns of projects at reading large frames, `rounds` those of
    the loop for clients that send much at once.
    """

    doing: Doing
    rooms: Rooms
    channels: Channels
    clock: Clock
    tasks: Tasks
    pace: Pace
    reading: Turns
    rounds: Rounds


class Connection:
    """`app_id` is what the client called its project. `run` is its task, from the handshake to the end."""

    def __init__(
        self,
        means: Means,
        *,
        project: Project,
        app_id: str,
        visitor: Visitor,
        identity: Identity,
        max_frame_bytes: int,
    ) -> None:
        self._means = means
        self._loop = asyncio.get_running_loop()
        self._app_id = app_id
        self._timing = Timing(means.pace, self._loop.time())
        self._timer: asyncio.TimerHandle | None = None
        self._room: Room | None = None
        self._channels: set[str] = set()
        self._events: deque[EventSent] = deque()
        self._orders: deque[Frame] = deque()
        self._ordering = False
        self._settled = asyncio.Event()
        self._settled.set()
        self._wake = asyncio.Event()
        self.id = new_id()
        self.project = project
        self.visitor = visitor
        self.identity = identity
        self.socket = Socket(
            max_bytes=max_frame_bytes,
            on_bytes=lambda: self._timing.came(self._loop.time()),
            on_frame=self._count_frame,
            on_text=self._take,
            on_lost=self._leave,
            on_shutdown=lambda: self.close(GOING_AWAY, "Server shutting down"),
            turn=partial(means.rounds.turn, project.id),
        )

    @property
    def user_id(self) -> str | None:
        return self.identity.user_id

    def send(self, frame: bytes) -> None:
        self.socket.send(frame)

    def tell(self, frame: str) -> None:
        self.socket.send(text_frame(frame))

    def close(self, code: int, reason: str) -> None:
        self.socket.close(code, reason)

    def turn_away(self, message: str, code: int, reason: str) -> None:
        """The handshake is over, and the client is not to stay."""
        self.refuse(message, code, reason)
        self.socket.begin()

    def refuse(self, message: str, code: int, reason: str) -> None:
        """Say why, and close."""
        self.tell(frames.error(message))
        self.close(code, reason)

    def enter(self, most: int) -> None:
        """The handshake is over: greet the client. With `most` connections in its project it is turned away."""
        if self.socket.lost:
            return
        self._room = self._means.rooms.enter(self.project.id, self, most=most)
        if self._room is None:
            self.turn_away("Connection limit reached", LATER, "Connection limit reached")
            return
        self.tell(frames.connected(self._app_id, self.identity.role))
        self._follow_token()
        self.socket.begin()

    async def run(self) -> None:
        """Run events until the client is gone."""
        while not self.socket.lost:
            while self._events and self.socket.is_open:
                frame = self._events[0]
                await self._settled.wait()
                answer = await self._means.doing.run_event(self, frame)
                self.tell(answer)
                # It counts until it is answered.
                self._events.popleft()
            self._wake.clear()
            if not self.socket.lost:
                await self._wake.wait()

    # Frames.

    def _count_frame(self) -> None:
        if not self._timing.takes_frame(self._loop.time()):
            raise Unwanted(POLICY, "Too many frames")

    def _take(self, text: str) -> None:
        if len(text) <= _SMALL_CHARS:
            self._take_read(partial(frames.read, text))
            return
        # What comes behind it waits.
        self.socket.hold()
        self._means.tasks.spawn(self._take_large(text), name="realtime frame")

    async def _take_large(self, text: str) -> None:
        work_for(self.project.id)
        try:
            async with self._means.reading.take(self.project.id):
                read = await asyncio.to_thread(_read, text)
            if self.socket.is_open:
                self._take_read(read)
        finally:
            self.socket.let_go()

    def _take_read(self, read: Callable[[], Frame]) -> None:
        """`read` gives a frame, or raises Refused."""
        try:
            frame = read()
            if isinstance(frame, EventSent):
                self._queue_event(frame)
            elif self._ordering or isinstance(frame, ChannelSubscribed | TokenGiven):
                self._queue_order(frame)
            else:
                self._do(frame)
        except Refused as exc:
            self.tell(frames.error(exc.message, exc.id))

    def _queue_event(self, frame: EventSent) -> None:
        # One of them runs.
        if len(self._events) > WAITING_MAX:
            raise Refused(_BUSY, frame.id)
        self._events.append(frame)
        self._wake.set()

    def _queue_order(self, frame: Frame) -> None:
        if len(self._orders) > WAITING_MAX:
            raise Refused(_BUSY, frame.id)
        self._orders.append(frame)
        if isinstance(frame, TokenGiven):
            self._settled.clear()
        if not self._ordering:
            self._ordering = True
            self._means.tasks.spawn(self._do_orders(), name="realtime orders")

    async def _do_orders(self) -> None:
        try:
            while self._orders and self.socket.is_open:
                frame = self._orders[0]
                try:
                    if isinstance(frame, ChannelSubscribed):
                        await self._subscribe(frame)
                    elif isinstance(frame, TokenGiven):
                        await self._renew(frame)
                    else:
                        self._do(frame)
                except Refused as exc:
                    self.tell(frames.error(exc.message, exc.id or frame.id))
                self._orders.popleft()
                if not any(isinstance(one, TokenGiven) for one in self._orders):
                    self._settled.set()
        finally:
            self._ordering = False
            self._settled.set()

    def _do(self, frame: Frame) -> None:
        """Raises Refused."""
        match frame:
            case TableSubscribed():
                for told in frames.subscribed_table(frame):
                    self.tell(told)
            case TableUnsubscribed():
                self.tell(frames.unsubscribed_table(frame))
            case ChannelUnsubscribed():
                self._unsubscribe(frame)
            case PresenceTracked():
                self._track(frame)
            case PresenceUpdated():
                self._update(frame)
            case _:
                raise Refused("This frame is not understood here", frame.id)

    async def _subscribe(self, frame: ChannelSubscribed) -> None:
        room = self._room
        if room is None:
            return
        if frame.channel not in self._channels and len(self._channels) >= CHANNELS_MAX:
            raise Refused(f"A connection may subscribe to {CHANNELS_MAX} channels", frame.id)
        self._check_subscriptions(room, frame)
        try:
            if not await self._means.doing.may_subscribe(self, frame):
                raise Refused(f"Not allowed to subscribe to channel: {frame.channel}", frame.id)
            if self.socket.lost:
                return
            # Others may have been asked about meanwhile.
            self._check_subscriptions(room, frame)
            self._channels.add(frame.channel)
            await self._means.channels.subscribe(self.project.id, room, self, frame.channel, frame.since, frame.id)
        except IsoletError as exc:
            log.error("cannot subscribe a client", error=exc.message)
            self._channels.discard(frame.channel)
            raise Refused("The channel cannot be read now", frame.id) from exc

    def _check_subscriptions(self, room: Room, frame: ChannelSubscribed) -> None:
        """Raises Refused."""
        if frame.channel not in self._channels and room.subscriptions >= SUBSCRIPTIONS_MAX:
            raise Refused("The project's clients have as many subscriptions as they may", frame.id)

    def _unsubscribe(self, frame: ChannelUnsubscribed) -> None:
        self._channels.discard(frame.channel)
        if self._room is not None:
            self._room.unsubscribe(self, frame.channel)
        self.tell(frames.unsubscribed_channel(frame.channel, frame.id))

    def _track(self, frame: PresenceTracked) -> None:
        if self._room is not None:
            self._check_room(self._room, frame.id)
            told = self._room.presence.track(self, frame.metadata)
            self.tell(frames.presence_state(self._room.presence.state(), frame.id))
            self._room.tell_others(self, told)

    def _update(self, frame: PresenceUpdated) -> None:
        if self._room is not None:
            self._check_room(self._room, frame.id)
            if (told := self._room.presence.update(self, frame.metadata)) is not None:
                self._room.tell_others(self, told)

    def _check_room(self, room: Room, id_: Any) -> None:
        """Raises Refused."""
        if room.is_busy:
            raise Refused(_BUSY, id_)

    async def _renew(self, frame: TokenGiven) -> None:
        try:
            identity = await self._means.doing.identify(self.project.id, frame.token)
        except TokenRefused as exc:
            log.info("refused a token", reason=exc.reason, project=self.project.slug)
            self.refuse(AUTH_FAILED, POLICY, "Auth failed")
            return
        if self.user_id is not None and identity.user_id != self.user_id:
            raise Refused("This connection is another user's: open a new one", frame.id)
        self.identity = identity
        self.tell(frames.authenticated(identity.role, frame.id))
        self._follow_token()

    # Time.

    def _follow_token(self) -> None:
        ends_ms = self.identity.ends_ms
        rest_s = None if ends_ms is None else (ends_ms - self._means.clock.now_ms()) / 1000
        self._timing.token_ends(None if rest_s is None else self._loop.time() + rest_s)
        self._look()

    def _look(self) -> None:
        """Do what is due, and come back when something will be."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.socket.is_open:
            return
        for due in self._timing.due(self._loop.time()):
            self._act(due)
        if self.socket.is_open:
            self._timer = self._loop.call_at(self._timing.next_at, self._look)

    def _act(self, due: Due) -> None:
        match due:
            case Due.HEARTBEAT:
                self.tell(frames.heartbeat(self._means.clock.now_ms()))
                # A client that only listens shows by its answer that it is there.
                self.socket.ping()
            case Due.TOKEN_EXPIRING:
                self.tell(frames.token_expiring(self.identity.ends_ms or 0))
            case Due.TOKEN_ENDED:
                self.close(POLICY, "Token expired")
            case Due.IDLE:
                self.close(GOING_AWAY, "Idle")

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._room is not None:
            self._means.rooms.leave(self.project.id, self, self._channels)
        self._wake.set()


def _read(text: str) -> Callable[[], Frame]:
    """For a thread: what gives the frame, or raises Refused."""
    try:
        frame = frames.read(text)
    except Refused as exc:
        refused = exc

        def refuse() -> Frame:
            raise refused

        return refuse
    return lambda: frame
