"""A socket that has ended refers to nothing that refers to it: many may end at once."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

from isolet.realtime.socket import Socket
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
