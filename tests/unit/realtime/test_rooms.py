"""What many clients are told goes out some at a time, and what waits does not grow with their number."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from isolet.domain.realtime import Message
from isolet.ids import ProjectId
from isolet.realtime import connection
from isolet.realtime.connection import Connection, Means
from isolet.realtime.frames import ChannelSubscribed, Refused
from isolet.realtime.identity import Identity
from isolet.realtime.rooms import Room
from isolet.realtime.timing import Pace
from isolet.rounds import Rounds
from isolet.tasks import Tasks


class Occupant:
    """A client that keeps what it is sent; `turns` has how many frames all got in a turn of the loop."""

    def __init__(self, number: int, sent: list[int]) -> None:
        self.id, self.user_id = str(number), None
        self.frames: list[bytes] = []
        self._sent = sent

    def send(self, frame: bytes) -> None:
        self.frames.append(frame)
        self._sent[0] += 1

    def close(self, code: int, reason: str) -> None:
        raise AssertionError("nobody is closed")

    def told(self) -> list[str]:
        return [json.loads(frame[frame.index(b"{") :])["client_id"] for frame in self.frames]


class Nobody:
    """A project, as a connection knows it."""

    id = ProjectId("p")


async def most_in_a_turn(sent: list[int], is_over: Callable[[], bool]) -> int:
    """Until all is out."""
    most = 0
    while not is_over():
        most, sent[0] = max(most, sent[0]), 0
        await asyncio.sleep(0)
    return max(most, sent[0])


async def test_changes_of_presence_wait_for_their_turn_and_are_bounded() -> None:
    tasks, sent = Tasks(), [0]
    room = Room(tasks)
    crowd = [Occupant(number, sent) for number in range(300)]
    for one in crowd:
        room.presence.track(one, {})
    waited = 0
    while not room.is_busy:
        room.tell_others(crowd[0], room.presence.update(crowd[0], {"n": waited}) or "")
        waited += 1
    assert waited < 1_000
    newcomer = Occupant(1_000, sent)
    room.tell_others(newcomer, room.presence.track(newcomer, {}))

    assert await most_in_a_turn(sent, lambda: len(crowd[299].frames) > waited) <= 100

    assert all(one.told() == ["0"] * waited + ["1000"] for one in crowd[1:])
    # What was told before it came is in what it was told when it came.
    assert (crowd[0].told(), newcomer.told()) == (["1000"], [])
    await tasks.close()


async def test_who_left_is_told_nothing_more() -> None:
    tasks, sent = Tasks(), [0]
    room = Room(tasks)
    crowd = [Occupant(number, sent) for number in range(150)]
    for one in crowd:
        room.occupants.add(one)
        room.presence.track(one, {})
    for one in crowd[:149]:
        room.leave(one, [])

    await most_in_a_turn(sent, lambda: len(crowd[149].frames) == 149)

    # All at once: one that was left had not been told of the others yet.
    assert all(one.frames == [] for one in crowd[:149])
    assert crowd[149].told() == [str(number) for number in range(149)]
    await tasks.close()


async def test_messages_to_few_subscribers_go_out_at_once_as_long_as_they_are_few() -> None:
    tasks, sent = Tasks(), [0]
    room = Room(tasks)
    crowd = [Occupant(number, sent) for number in range(60)]
    topic, _ = room.subscribe(crowd[0], "news")
    for one in crowd:
        _, subscription = room.subscribe(one, "news")
        subscription.release(0)
    for seq in range(1, 51):
        message = Message(project_id=ProjectId("p"), channel="news", seq=seq, event="e", data=str(seq))
        room.send_out(topic, [message])
        assert sent[0] <= 100

    assert await most_in_a_turn(sent, lambda: len(crowd[59].frames) == 50) <= 100

    assert [len(one.frames) for one in crowd] == [50] * 60
    numbers = [json.loads(frame[frame.index(b"{") :])["seq"] for frame in crowd[0].frames]
    assert numbers == list(range(1, 51))
    await tasks.close()


async def test_subscriptions_are_counted_once_each_until_they_end() -> None:
    tasks, sent = Tasks(), [0]
    room, (one, other) = Room(tasks), (Occupant(number, sent) for number in range(2))
    for _ in range(3):
        room.subscribe(one, "a")
        room.subscribe(one, "b")
        room.subscribe(other, "a")
    assert room.subscriptions == 3
    room.unsubscribe(one, "a")
    room.unsubscribe(one, "a")
    room.unsubscribe(one, "never")
    assert room.subscriptions == 2
    room.leave(one, ["a", "b"])
    room.leave(other, ["a"])
    assert (room.subscriptions, room.topics) == (0, {})
    await tasks.close()


class Asked:
    """Who says who may subscribe: others do meanwhile."""

    def __init__(self, room: Room, *others: str) -> None:
        self._room, self._others = room, others

    async def may_subscribe(self, _connection: Connection, _frame: ChannelSubscribed) -> bool:
        for channel in self._others:
            self._room.subscribe(Occupant(2, [0]), channel)
        return True


@pytest.mark.parametrize("others", [(), ("b",), ("b", "c")])
async def test_no_client_subscribes_to_more_than_all_of_a_project_may(
    others: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SUBSCRIPTIONS_MAX", 2)
    tasks, nothing = Tasks(), cast(Any, None)
    room = Room(tasks)
    for channel in ("b", "c")[len(others) :]:
        room.subscribe(Occupant(1, [0]), channel)
    means = Means(
        doing=cast(Any, Asked(room, *others)),
        rooms=nothing,
        channels=nothing,
        clock=nothing,
        tasks=tasks,
        pace=Pace(frames_s=1, idle_s=1),
        reading=nothing,
        rounds=Rounds(),
    )
    project = cast(Any, Nobody())
    another = Connection(
        means, project=project, app_id="a", visitor=nothing, identity=Identity(), max_frame_bytes=1_000
    )
    another._room = room
    with pytest.raises(Refused, match="as many subscriptions as they may"):
        await another._subscribe(ChannelSubscribed(channel="a", since=None))
    assert room.subscriptions == 2
    await tasks.close()
