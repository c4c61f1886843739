"""Messages of a channel go out once each, in order, whatever order they come in."""

from __future__ import annotations

import random

import pytest

from isolet.domain.realtime import Message
from isolet.ids import ProjectId
from isolet.realtime.topics import Subscription, Topic


def message(seq: int) -> Message:
    return Message(project_id=ProjectId("p"), channel="c", seq=seq, event="e", data="null")


class Client:
    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def send(self, frame: bytes) -> None:
        self.frames.append(frame)


@pytest.mark.parametrize("seed", range(5))
def test_any_order_and_any_repetition_gives_each_once_in_order(seed: int) -> None:
    topic = Topic("c")
    topic.begin(10)
    came = [*range(1, 41), *range(15, 30)]
    random.Random(seed).shuffle(came)

    assert [one.seq for seq in came for one in topic.take(message(seq))] == list(range(11, 41))
    assert not topic.has_gap


def test_what_comes_before_the_newest_number_is_read_waits_for_it() -> None:
    topic = Topic("c")
    assert [topic.take(message(seq)) for seq in (3, 5, 4)] == [[], [], []]
    assert not topic.has_gap
    assert [one.seq for one in topic.begin(3)] == [4, 5]
    assert topic.begin(1) == []


def test_a_gap_is_seen_and_passed_over() -> None:
    topic = Topic("c")
    topic.begin(0)
    assert topic.take(message(5)) == []
    assert topic.has_gap
    assert [one.seq for one in topic.pass_over_gaps(5)] == [5]
    assert topic.pass_over_gaps(5) == []
    assert [one.seq for one in topic.take(message(6))] == [6]


def test_what_is_missing_beyond_what_was_read_is_not_passed_over() -> None:
    topic = Topic("c")
    topic.begin(0)
    for seq in (3, 4, 7, 9):
        assert topic.take(message(seq)) == []
    assert topic.newest == 9
    # Numbers up to 5 were read: 6 may have been written since.
    assert [one.seq for one in topic.pass_over_gaps(5)] == [3, 4]
    assert (topic.last, topic.has_gap) == (5, True)
    assert [one.seq for one in topic.take(message(6))] == [6, 7]
    assert [one.seq for one in topic.pass_over_gaps(9)] == [9]
    assert (topic.last, topic.newest, topic.has_gap) == (9, 9, False)


def test_a_subscriber_gets_what_came_meanwhile_after_what_was_kept() -> None:
    client = Client()
    subscription = Subscription(client)
    for seq in (4, 5, 6):
        subscription.send(seq, b"%d" % seq)
    assert client.frames == []
    subscription.release(5)
    subscription.send(6, b"again")
    subscription.send(7, b"7")
    assert client.frames == [b"6", b"7"]
