"""A socket that has ended refers to nothing that refers to it: many may end at once."""

from __future__ import annotations

import asyncio
import gc
import weakref
from functools import partial
from typing import Any

from websockets.frames import Frame, Opcode

from isolet.ids import ProjectId
from isolet.realtime.socket import Socket
from isolet.rounds import Rounds
from isolet.wire.upgrade import Upgrade


class Owner:
    """What has a socket, and is called by it, as a connection does."""

    def __init__(self) -> None:
        self.ended = 0
        self.socket = Socket(
            max_bytes=1_000,
            on_bytes=lambda: self.note(),
            on_frame=self.note,
            on_text=lambda _: self.note(),
            on_lost=self.lose,
            on_shutdown=self.note,
            turn=lambda: asyncio.get_running_loop().create_future(),
        )

    def note(self) -> None:
        return

    def lose(self) -> None:
        self.ended += 1


class Asked:
    """What asks for an upgrade and knows of it, as an exchange does."""

    def __init__(self, transport: Any) -> None:
        self.upgrade = Upgrade(transport, [], on_accept=self.switch)

    def switch(self) -> None:
        return


class Kept(asyncio.Transport):
    """A transport that takes what is written to it."""

    def write(self, data: Any) -> None:
        return

    def is_closing(self) -> bool:
        return False


async def test_an_ended_connection_goes_without_the_garbage_collector() -> None:
    owner, asked = Owner(), Asked(Kept())
    asked.upgrade.accept([], owner.socket)
    owner.socket.begin()
    asked.upgrade.connection_lost(None)
    asked.upgrade.connection_lost(None)
    assert owner.ended == 1
    gone = [weakref.ref(one) for one in (owner, owner.socket, asked, asked.upgrade)]
    gc.disable()
    try:
        del owner, asked
        assert [one() for one in gone] == [None] * 4
    finally:
        gc.enable()


async def test_an_upgrade_that_nobody_took_goes_too() -> None:
    asked = Asked(Kept())
    asked.upgrade.connection_lost(None)
    gone = weakref.ref(asked)
    gc.disable()
    try:
        del asked
        assert gone() is None
    finally:
        gc.enable()


class Flows(Kept):
    """A transport that says whether it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = True

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def can_write_eof(self) -> bool:
        return False


class Reader:
    """What has a socket and keeps what it is told."""

    def __init__(self, rounds: Rounds | None = None) -> None:
        self.frames, self.texts, self.transport = 0, list[str](), Flows()
        self.socket = Socket(
            max_bytes=1_000,
            on_bytes=lambda: None,
            on_frame=self.count,
            on_text=self.texts.append,
            on_lost=lambda: None,
            on_shutdown=lambda: None,
            turn=partial((rounds or Rounds()).turn, ProjectId("p")),
        )
        self.socket.connection_made(self.transport)
        self.socket.begin()

    def count(self) -> None:
        self.frames += 1


async def test_of_thousands_of_frames_that_come_at_once_few_are_taken_in_a_turn_of_the_loop() -> None:
    reader, count = Reader(), 40_000
    reader.socket.data_received(Frame(Opcode.PONG, b"").serialize(mask=True) * count)
    turns = 1
    while reader.frames < count:
        assert reader.frames < 6_000 * turns - 5_000
        assert not reader.transport.reads
        await asyncio.sleep(0)
        turns += 1
    assert reader.transport.reads


async def test_texts_that_come_at_once_are_taken_in_order_some_in_a_turn_and_none_while_it_holds() -> None:
    reader, sent = Reader(), [str(number) for number in range(500)]
    data = b"".join(Frame(Opcode.TEXT, text.encode()).serialize(mask=True) for text in sent)
    reader.socket.data_received(data)
    assert len(reader.texts) < 20
    reader.socket.hold()
    held = len(reader.texts)
    for _ in range(5):
        await asyncio.sleep(0)
    assert (len(reader.texts), reader.transport.reads) == (held, False)
    reader.socket.let_go()
    while len(reader.texts) < len(sent):
        await asyncio.sleep(0)
    assert reader.texts == sent


async def test_nothing_is_taken_behind_what_ends_the_connection() -> None:
    reader = Reader()
    frames = [Frame(Opcode.TEXT, b"a"), Frame(Opcode.BINARY, b"b"), Frame(Opcode.TEXT, b"c")]
    reader.socket.data_received(b"".join(frame.serialize(mask=True) for frame in frames) * 100)
    for _ in range(50):
        await asyncio.sleep(0)
    assert reader.texts == ["a"]
    reader.socket.connection_lost(None)


async def test_of_what_many_clients_send_at_once_little_is_taken_in_a_turn_of_the_loop() -> None:
    rounds = Rounds()
    readers = [Reader(rounds) for _ in range(50)]
    data = Frame(Opcode.TEXT, b"a").serialize(mask=True) * 100
    for reader in readers:
        reader.socket.data_received(data)
    assert sum(len(reader.texts) for reader in readers) == 2 * len(readers)
    before = most = 100
    while before < 100 * len(readers):
        await asyncio.sleep(0)
        now = sum(len(reader.texts) for reader in readers)
        most, before = max(most, now - before), now
    assert most <= 100
    assert all(reader.transport.reads for reader in readers)
