"""Due times while the clock jumps, the process is suspended, and servers are killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from isolet.clock import parse_iso
from tests.chaos import due_times
from tests.support.clock import SetClock
from tests.support.postgres import Postgres
from tests.support.server import Server
from tests.support.waiting import wait_until

MINUTE_MS = 60_000
CODE = "export default async () => new Response('ok');"
MISSED = ("one", "all", "none")


@pytest.mark.timeout(240)
def test_of_two_servers_of_which_one_is_killed_before_a_due_time_one_runs_it_once(
    tmp_path: Path, postgres: Postgres
) -> None:
    with postgres.temporary() as url:
        dues, runs = due_times.run(tmp_path, url, rounds=4)
    assert len(set(dues)) == 4
    assert runs.keys() >= set(dues)
    assert set(runs.values()) == {1}, runs
    assert all(due % MINUTE_MS == 0 for due in runs), runs


class Schedules:
    """A schedule of each minute for each policy of missed due times, on a server whose clock is set."""

    def __init__(self, folder: Path) -> None:
        self.clock = SetClock(folder)
        self.clock.before_minute(30_000)
        self._folder = folder
        self.server = Server(folder / "data", clock=self.clock).wait_ready()
        self.client = self.server.client()
        url = "/isolet/v1/projects/default/functions/clock"
        made = self.client.put(url, json={"code": CODE}, params={"wait": 120})
        assert made.status_code == 201, made.text
        self._function_id = made.json()["id"]
        self._ids = {missed: self.add(missed=missed, overlap="queue") for missed in MISSED}

    def add(self, **values: Any) -> str:
        url = f"/isolet/v1/functions/{self._function_id}/schedules"
        made = self.client.post(url, json={"cron": "* * * * *", **values})
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    def restart(self, while_away: int) -> None:
        """Killed, and started again so many minutes later."""
        self.server.kill()
        self.clock.step(while_away * MINUTE_MS)
        self.server = Server(self._folder / "data", clock=self.clock).wait_ready()
        self.client.close()
        self.client = self.server.client()

    def stop(self) -> None:
        self.client.close()
        self.server.stop()

    def suspend(self, minutes: int) -> None:
        os.kill(self.server.process.pid, signal.SIGSTOP)
        self.clock.step(minutes * MINUTE_MS)
        os.kill(self.server.process.pid, signal.SIGCONT)

    def ran(self, schedule_id: str) -> list[int]:
        """The due times that were run, oldest first."""
        query = {"limit": 500}
        found = self.client.get(f"/isolet/v1/schedules/{schedule_id}/firings", params=query).json()["data"]
        return sorted(parse_iso(one["due_at"]) for one in found if one["status"] == "succeeded")

    def become(self, **expected: tuple[int, int]) -> None:
        """Wait until each policy has so many runs, and has missed so many due times, in all."""

        def seen() -> dict[str, tuple[int, int]]:
            shown = {name: self.client.get(f"/isolet/v1/schedules/{one}").json() for name, one in self._ids.items()}
            return {name: (len(self.ran(self._ids[name])), one["missed_total"]) for name, one in shown.items()}

        def look() -> bool:
            nonlocal last
            last = seen()
            return last == expected

        last: dict[str, tuple[int, int]] = {}
        try:
            # A hundred runs in line take a while, and a look is at each of them.
            wait_until(look, pause_s=0.5)
        except AssertionError:
            raise AssertionError(f"{last}, not {expected}") from None
        for schedule_id in self._ids.values():
            assert len(set(due := self.ran(schedule_id))) == len(due)


@pytest.fixture(scope="module")
def schedules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Schedules]:
    made = Schedules(tmp_path_factory.mktemp("clock"))
    yield made
    made.stop()


def test_due_times_of_which_nobody_took_note_follow_the_policy(schedules: Schedules) -> None:
    # Suspended.
    schedules.suspend(200)
    schedules.become(one=(1, 199), all=(100, 100), none=(0, 200))
    # The clock is set forward, with nothing in its way.
    schedules.clock.step(120 * MINUTE_MS)
    schedules.become(one=(2, 318), all=(200, 120), none=(0, 320))
    # Killed across due times.
    schedules.restart(10)
    schedules.become(one=(3, 327), all=(210, 120), none=(0, 330))
    # The clock is set back: a schedule that is made then runs by it, the others have run those due times.
    schedules.clock.step(-120 * MINUTE_MS)
    new = schedules.add()
    due = schedules.clock.before_minute(500)
    assert wait_until(lambda: schedules.ran(new)) == [due]
    schedules.become(one=(3, 327), all=(210, 120), none=(0, 330))
    text = schedules.client.get("/metrics").text
    (found,) = [line for line in text.splitlines() if line.startswith("isolet_schedule_missed_total ")]
    # Of this run of the server, which began with ten due times behind it.
    assert float(found.split()[1]) == 9 + 10
