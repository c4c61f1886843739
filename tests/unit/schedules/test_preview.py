"""Due times that are asked for are looked for beside the event loop: a rare one is years from the next."""

from __future__ import annotations

import time
from typing import Any, cast

from isolet.clock import SystemClock
from isolet.domain.cron import read_cron
from isolet.schedules.service import Schedules

NOTHING = cast(Any, None)


async def test_a_preview_of_rare_due_times_is_made_beside_the_loop() -> None:
    schedules = Schedules(
        database=NOTHING, engine=NOTHING, scheduler=NOTHING, clock=SystemClock(), flows=NOTHING, most=NOTHING
    )
    cron = read_cron("0 0 * 2 1#5")
    loop_s, whole_s = time.thread_time(), time.process_time()

    found = await schedules.preview(cron, 100)

    assert time.thread_time() - loop_s < (time.process_time() - whole_s) / 4
    assert len(found) == 100
    assert all((due.month, due.day, due.weekday()) == (2, 29, 0) for due in found)
