"""A copy of a data directory, started where the original runs: both work, and nothing runs twice."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.altair import Altair
from tests.support.postgres import Postgres
from tests.support.receiver import Answer, Receiver
from tests.support.server import Server
from tests.support.waiting import wait_until

ECHO = "export default async (request) => new Response(await request.text());"
SLOW = """export default async (request, env) => {
  const text = await request.text();
  while (!(await env.KV.get("go"))) await new Promise((done) => setTimeout(done, 20));
  return new Response(text);
}"""
SETTINGS = {"egress_allow": "127.0.0.0/8", "job_concurrency": 1, "callback_schedule_s": "0,300", "drain_timeout_s": 0}


@pytest.fixture
def refusing() -> Iterator[Receiver]:
    """A receiver whose first answer to each callback is a refusal, so that its next attempt waits."""
    with Receiver(lambda _: Answer(status=503)) as running:
        yield running


def copied(folder: Path, name: str) -> Path:
    """A copy as `cp -a` makes it, with everything that a running server has there."""
    copy = folder.with_name(name)
    subprocess.run(["cp", "-a", folder, copy], check=True, timeout=60)
    return copy


def held(server: Server) -> int:
    with server.client() as client:
        return int(client.get("/healthz").json()["jobs"]["held"])


def test_a_copy_leaves_the_original_alone_and_holds_what_it_had_queued(tmp_path: Path, refusing: Receiver) -> None:
    with Server(tmp_path / "data", **SETTINGS) as original, original.client() as client:
        altair = Altair(client)
        called = altair.start(altair.running("echo", ECHO), b"told", refusing.url)
        wait_until(lambda: (altair.status(called)["callback"] or {}).get("attempts"), what="the first attempt")
        slow = altair.running("slow", SLOW)
        running, queued = (altair.start(slow, text, refusing.url) for text in (b"running", b"queued"))
        wait_until(lambda: altair.status(running)["status"] == "running", what="the start")
        before = {process.pid for process in original.children()}

        with Server(copied(original.data_dir, "copy"), **SETTINGS) as copy, copy.client() as other:
            twin = Altair(other)
            # Work of its own runs at once, whatever it holds.
            assert twin.ended(twin.start("echo", b"own"))["result"]["body"] == "own"
            assert held(copy) == 3
            assert "start with --adopt" in copy.log
            assert "count=3" in copy.log
            for call_id in (running, queued):
                told = twin.status(call_id)
                assert (told["status"], told["next_attempt_at"]) == ("queued", None)
            assert twin.status(called)["callback"]["status"] == "queued"
            name = (copy.data_dir / "server-id").read_text().split()[0]
            assert name != (original.data_dir / "server-id").read_text().split()[0]

        assert before <= {process.pid for process in original.children()}
        assert altair.status(running)["status"] == "running"
        assert client.put("/isolet/v1/projects/default/kv/go", content=b"1").status_code < 300
        assert [altair.ended(call_id)["result"]["body"] for call_id in (running, queued)] == ["running", "queued"]
        assert held(original) == 0
        assert [delivery.body for delivery in refusing.deliveries].count(b"told") == 1

    # Once the original has stopped, it delivers nothing more.
    told_to = len(refusing.deliveries)
    # Still held at the next start, until the operator says that the original does not run any more.
    refusing.answer = lambda _: Answer()
    with Server(copy.data_dir, **SETTINGS) as copy:
        assert held(copy) == 3
    with Server(copy.data_dir, "--adopt", **SETTINGS) as copy, copy.client() as other:
        twin = Altair(other)
        assert other.put("/isolet/v1/projects/default/kv/go", content=b"1").status_code < 300
        assert [twin.ended(call_id)["result"]["body"] for call_id in (running, queued)] == ["running", "queued"]
        bodies = [delivery.body for delivery in refusing.wait(told_to + 3)[told_to:]]
        assert sorted(bodies) == [b"queued", b"running", b"told"]
        assert held(copy) == 0


def test_a_moved_folder_goes_on_and_one_put_back_from_a_backup_tells_what_to_do(tmp_path: Path) -> None:
    with Server(tmp_path / "data", **SETTINGS) as first, first.client() as client:
        altair = Altair(client)
        waiting = altair.start(altair.running("slow", SLOW), b"kept")
        wait_until(lambda: altair.status(waiting)["status"] == "running", what="the start")
    (tmp_path / "data").rename(tmp_path / "moved")
    with Server(tmp_path / "moved", **SETTINGS) as second, second.client() as client:
        altair = Altair(client)
        wait_until(lambda: altair.status(waiting)["status"] == "running", what="the start")
        assert held(second) == 0
    shutil.copytree(tmp_path / "moved", tmp_path / "restored", ignore=shutil.ignore_patterns("run"))
    with Server(tmp_path / "restored", **SETTINGS) as third, third.client() as client:
        assert Altair(client).status(waiting)["status"] == "queued"
        assert held(third) == 1
        assert "was moved" in third.log
        assert client.post(f"/isolet/v1/invocations/{waiting}/cancel").json()["status"] == "cancelled"
    with Server(tmp_path / "restored", adopt="true", **SETTINGS) as fourth:
        assert held(fourth) == 0


def test_a_cloned_data_directory_on_the_same_postgresql_is_a_server_of_its_own(
    tmp_path: Path, postgres: Postgres
) -> None:
    with postgres.temporary() as url:
        settings = {**SETTINGS, "database_url": url}
        with Server(tmp_path / "data", **settings) as original, original.client() as client:
            altair = Altair(client)
            slow = altair.running("slow", SLOW)
            running = altair.start(slow, b"running")
            wait_until(lambda: altair.status(running)["status"] == "running", what="the start")
            with Server(copied(original.data_dir, "clone"), **settings) as clone, clone.client() as other:
                told = Altair(other).status(running)
                assert (told["status"], told["attempts"]) == ("running", [])
                assert "takes a name of its own" in clone.log
                assert held(clone) == 0
            assert client.put("/isolet/v1/projects/default/kv/go", content=b"1").status_code < 300
            ended = altair.ended(running)
            assert (ended["result"]["body"], len(ended["attempts"])) == ("running", 1)


def test_a_copied_postgresql_database_is_a_copy(tmp_path: Path, postgres: Postgres) -> None:
    with postgres.temporary() as url:
        with Server(tmp_path / "data", database_url=url, **SETTINGS) as original, original.client() as client:
            altair = Altair(client)
            slow = altair.running("slow", SLOW)
            calls = [altair.start(slow, b"x") for _ in range(2)]
            wait_until(lambda: altair.status(calls[0])["status"] == "running", what="the start")
        data = copied(original.data_dir, "copy")
        with (
            postgres.temporary(copy_of=url) as other,
            Server(data, database_url=other, **SETTINGS) as copy,
            copy.client() as client,
        ):
            assert held(copy) == 2
            assert {Altair(client).status(call_id)["status"] for call_id in calls} == {"queued"}
