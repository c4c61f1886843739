from __future__ import annotations

import asyncio
from functools import partial

from isolet.spread import IN_A_TURN, Spread
from tests.support.loop_turns import LoopTurns


async def test_a_crowd_is_served_in_its_order_some_in_each_turn() -> None:
    turns, spread = LoopTurns(), Spread()
    for number in range(10 * IN_A_TURN):
        spread.later(partial(turns.note, number))
    await turns.until(10 * IN_A_TURN)
    assert [number for _, number in turns.noted] == list(range(10 * IN_A_TURN))
    assert turns.most() == IN_A_TURN


async def test_what_a_piece_of_work_asks_for_comes_behind_the_others() -> None:
    turns, spread = LoopTurns(), Spread()

    def work() -> None:
        turns.note(1)
        spread.later(partial(turns.note, 3))

    spread.later(work)
    spread.later(partial(turns.note, 2))
    await turns.until(3)
    assert [number for _, number in turns.noted] == [1, 2, 3]


async def test_one_that_fails_fails_no_other() -> None:
    turns, spread = LoopTurns(), Spread()
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))

    def fails() -> None:
        raise ValueError("of the test")

    spread.later(fails)
    spread.later(partial(turns.note, 1))
    await turns.until(1)
    assert [type(error) for error in told] == [ValueError]
