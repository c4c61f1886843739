from __future__ import annotations

import asyncio
from collections import Counter

from isolet.invoke.watch import Watch
from isolet.spread import IN_A_TURN


class Young:
    """A call that began long ago."""

    began_s = 0.0

    def __init__(self, told: list[Young]) -> None:
        self._told = told

    def tick(self) -> None:
        self._told.append(self)


async def test_of_a_crowd_some_are_told_in_each_turn_of_the_loop() -> None:
    watch, told, in_turn = Watch(), list[Young](), Counter[int]()
    calls = [Young(told) for _ in range(10 * IN_A_TURN)]
    for call in calls:
        watch.add(call)
    watch.remove(calls[-1])
    async with asyncio.timeout(60):
        turn = 0
        while len(told) < len(calls) - 1:
            before = len(told)
            await asyncio.sleep(0)
            turn += 1
            in_turn[turn] = len(told) - before
    watch.close()
    assert told == calls[:-1]
    assert max(in_turn.values()) <= IN_A_TURN
