"""Functions are deployed side by side, and none goes on when what is about all of them has failed."""

import asyncio

import pytest

from isolet.workspace.deploying import together


async def test_the_others_have_ended_when_the_error_of_one_is_raised() -> None:
    ended = []

    async def goes_on() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("goes_on")

    async def fails() -> None:
        raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        await together([goes_on(), fails()])
    assert ended == ["goes_on"]


async def test_results_are_in_the_order_of_the_work() -> None:
    async def after(turns: int) -> int:
        for _ in range(turns):
            await asyncio.sleep(0)
        return turns

    assert await together(map(after, (3, 1, 2))) == [3, 1, 2]
