"""Live connections of a server: who may open one, what its frames do, and what projects set of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from isolet.access.credentials import Credentials
from isolet.clock import Clock
from isolet.database import realtime as stored
from isolet.database.connection import Database
from isolet.domain.access import Role
from isolet.domain.changes import Change, KeyDeleted, ProjectDeleted
from isolet.domain.projects import Project
from isolet.domain.realtime import RealtimeSettings, Subscribers, check_realtime_settings
from isolet.domain.triggers import EVENT_MAX_CHARS
from isolet.errors import IsoletError, NotFound
from isolet.identity.identity import Identities, TokenRefused
from isolet.ids import KeyId, ProjectId
from isolet.realtime import frames
from isolet.realtime.calls import EventAnswer, EventCalls, Visitor
from isolet.realtime.channels import Channels
from isolet.realtime.connection import POLICY, Connection, Means
from isolet.realtime.frames import ChannelSubscribed, EventSent, Refused
from isolet.realtime.identity import Identity, token_end_ms
from isolet.realtime.rooms import Room, Rooms
from isolet.realtime.timing import Pace
from isolet.rounds import Rounds
from isolet.routing.routes import Route, Routes
from isolet.tasks import Tasks
from isolet.telemetry import get_logger
from isolet.turns import Turns

log = get_logger("realtime")

# Large frames, in threads.
_READ_AT_ONCE = 2
_CLOSED_IN_A_TURN = 100


class Realtime:
    """`frame_bytes` is the largest message of a client where its project says nothing. `count` counts a call of a
    function for the rate of its project, and says whether it may run.
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        routes: Routes,
        credentials: Credentials,
        identities: Identities,
        calls: EventCalls,
        pace: Pace,
        frame_bytes: int,
    ) -> None:
        self._database = database
        self._clock = clock
        self._routes = routes
        self._credentials = credentials
        self._identities = identities
        self._calls = calls
        self._frame_bytes = frame_bytes
        self._tasks = Tasks()
        self._settings: dict[ProjectId, RealtimeSettings] = {}
        self.count: Callable[[ProjectId], bool] = lambda _: True
        self.rooms = Rooms(self._tasks)
        self.channels = Channels(
            database=database,
            clock=clock,
            rooms=self.rooms,
            tasks=self._tasks,
            most=lambda project_id: routes.limits_of(project_id).channels,
        )
        self._means = Means(
            doing=self,
            rooms=self.rooms,
            channels=self.channels,
            clock=clock,
            tasks=self._tasks,
            pace=pace,
            reading=Turns(_READ_AT_ONCE, of_one=_READ_AT_ONCE - 1),
            rounds=Rounds(),
        )

    # Settings.

    async def load(self) -> None:
        found = await self._database.read(stored.list_settings)
        self._settings = {project_id: check_realtime_settings(values) for project_id, values in found}

    def settings(self, project_id: ProjectId) -> RealtimeSettings:
        return self._settings.get(project_id) or RealtimeSettings()

    async def set(self, project_id: ProjectId, values: Mapping[str, Any]) -> RealtimeSettings:
        """Replace the whole, for connections to come; who may subscribe, at once. Raises InvalidInput."""
        settings = check_realtime_settings(values)
        await self._database.write(
            stored.put_settings, project_id, settings.to_json(), self._clock.now_ms(), notify=self._database.shared
        )
        self._settings[project_id] = settings
        return settings

    def most_connections(self, project_id: ProjectId) -> int:
        limit = self._routes.limits_of(project_id).realtime_connections
        return min(limit, self.settings(project_id).max_connections or limit)

    # Connections.

    def connections(self, project_id: ProjectId) -> int:
        room = self.rooms.find(project_id)
        return len(room.occupants) if room is not None else 0

    def connect(self, project: Project, *, app_id: str, visitor: Visitor, identity: Identity) -> Connection:
        settings = self.settings(project.id)
        return Connection(
            self._means,
            project=project,
            app_id=app_id,
            visitor=visitor,
            identity=identity,
            max_frame_bytes=settings.max_frame_bytes or self._frame_bytes,
        )

    async def identify(self, project_id: ProjectId, token: str) -> Identity:
        """Whom an API key or a user's token stands for. Raises TokenRefused."""
        principal = self._credentials.of_key(token)
        if principal is not None:
            if not principal.sees(project_id) or principal.role.rank < Role.INVOKE.rank:
                raise TokenRefused("it is a key of another project, or may not call functions")
            return Identity(is_service=True, is_root=principal.is_root, key_id=principal.key_id)
        user = await self._identities.verify(project_id, token)
        settings = self._identities.settings(project_id)
        leeway_s = settings.leeway_s if settings is not None else 0
        return Identity(user=user, ends_ms=token_end_ms(user.claims, leeway_s, self._clock.now_ms()))

    async def run_event(self, connection: Connection, frame: EventSent) -> str:
        project = connection.project
        route = self._routes.for_event(project.id, frame.event)
        if route is None or route.version is None:
            return frames.no_handler(frame.event, frame.id)
        if not self._counts(connection):
            return frames.event_response(frame.event, '{"error":"Rate limit exceeded"}', frame.id)
        body = _event_body(frame.event, frame.payload)
        answer = await self._calls.run(route, project, connection.visitor, connection.identity, body)
        return frames.event_response(frame.event, answer.data, frame.id)

    async def send_event(
        self, project: Project, event: str, payload: str | None, *, visitor: Visitor, identity: Identity
    ) -> tuple[Route, EventAnswer]:
        """The event as if a client of that identity sent it: the function that it calls, and the answer.

        `payload` is JSON in ASCII, if any. Raises NotFound when no function takes the event.
        """
        route = self._routes.for_event(project.id, event)
        if route is None or route.version is None:
            raise NotFound(f"No function is called by the event {event[:EVENT_MAX_CHARS]!r}")
        return route, await self._calls.run(route, project, visitor, identity, _event_body(event, payload))

    def _counts(self, connection: Connection) -> bool:
        """Count a call that a client asks for; False when the minute of its project is used up."""
        return connection.identity.is_root or self.count(connection.project.id)

    async def may_subscribe(self, connection: Connection, frame: ChannelSubscribed) -> bool:
        """Raises Refused when a function is to say it, and the minute of the project is used up."""
        project = connection.project
        settings = self.settings(project.id)
        if settings.subscribe is Subscribers.PUBLIC:
            return True
        if settings.subscribe is Subscribers.AUTHENTICATED:
            return connection.identity.is_known
        route = self._routes.named(project.id, settings.function or "")
        if route is None or route.version is None:
            log.info("the function that is asked who may subscribe is not there", project=project.slug)
            return False
        if not self._counts(connection):
            raise Refused("Rate limit exceeded", frame.id)
        asked = {"channel": frame.channel, "user": connection.identity.shown_user(), "client_id": connection.id}
        return await self._calls.allows(route, project, connection.visitor, connection.identity, json.dumps(asked))

    # What happens elsewhere.

    def follow(self, change: Change) -> None:
        """A listener: connections of keys and projects that are gone end."""
        match change:
            case KeyDeleted():
                rooms = [room for _, room in self.rooms.all()]
                self._tasks.spawn(self._end(rooms, "Auth failed", change.key_id), name="realtime key deleted")
            case ProjectDeleted():
                self._settings.pop(change.project.id, None)
                if (room := self.rooms.find(change.project.id)) is not None:
                    self._tasks.spawn(self._end([room], "App not found"), name="realtime project deleted")
            case _:
                pass

    async def _end(self, rooms: Sequence[Room], reason: str, key_id: KeyId | None = None) -> None:
        """Close connections, some at a time: those of a key, or all."""
        for room in rooms:
            for number, occupant in enumerate(list(room.occupants), 1):
                if key_id is None or (isinstance(occupant, Connection) and occupant.identity.key_id == key_id):
                    occupant.close(POLICY, reason)
                if number % _CLOSED_IN_A_TURN == 0:
                    await asyncio.sleep(0)

    async def hear(self, told: str) -> None:
        """Another server, or this one, wrote a message or settings into the database that they share."""
        try:
            news = json.loads(told)
            project_id = ProjectId(news["project"])
            if "channel" not in news:
                await self.load()
                return
            await self._hear_message(project_id, str(news["channel"]), int(news["seq"]))
        except IsoletError as exc:
            log.error("cannot read what another server wrote", error=exc.message)

    async def _hear_message(self, project_id: ProjectId, channel: str, seq: int) -> None:
        room = self.rooms.find(project_id)
        topic = room.topics.get(channel) if room is not None else None
        if topic is None or (topic.last is not None and seq <= topic.last):
            return
        after = seq - 1 if topic.last is None else topic.last
        _, kept = await self._database.read(stored.read_channel, project_id, channel, after, self._clock.now_ms())
        for message in kept:
            self.channels.deliver(message)

    async def catch_up(self) -> None:
        """What other servers wrote may not have been heard: read it."""
        await self.load()
        for project_id, room in self.rooms.all():
            for topic in list(room.topics.values()):
                self.channels.repair(project_id, topic)

    async def close(self) -> None:
        await self._tasks.close()


def _event_body(event: str, payload: str | None) -> str:
    """What the function is sent, as JSON in ASCII."""
    told = "" if payload is None else f',"payload":{payload}'
    return f'{{"event":{json.dumps(event)}{told}}}'
