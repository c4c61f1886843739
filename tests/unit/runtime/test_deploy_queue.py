"""Whose turn it is of the deploys that wait for room."""

from __future__ import annotations

import asyncio

from isolet.ids import ProjectId
from isolet.runtime.deploy_queue import DeployQueue


async def test_room_that_comes_as_a_deploy_gives_up_is_the_next_ones() -> None:
    room = False
    queue = DeployQueue(lambda _: room)
    first, second = (asyncio.ensure_future(queue.wait(ProjectId(name), 60)) for name in ("a", "b"))
    await asyncio.sleep(0)
    assert len(queue.waiting) == 2
    room = True
    first.cancel()
    queue.give_room()
    async with asyncio.timeout(30):
        await second
