import asyncio

import pytest

from isolet.ids import ProjectId
from isolet.runtime.group import Group


async def test_the_turn_of_a_call_that_gives_up_goes_to_the_next() -> None:
    group = Group("release", ProjectId("p"))
    first, second = (asyncio.ensure_future(group.wait_for_room(10)) for _ in range(2))
    await asyncio.sleep(0)
    assert len(group.waiting) == 2

    group.wake()
    first.cancel()

    with pytest.raises(asyncio.CancelledError):
        await first
    async with asyncio.timeout(60):
        await second
    assert not group.waiting
