"""What ends with a call and what does not: the instance, the calls beside it, the calls after it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.kapso import Kapso
from tests.support.limits import instances, limited, record_of
from tests.support.server import Server
from tests.support.waiting import once_within, wait_until

_STEPS = """export default { async fetch(request) {
    const step = await request.json();
    if (step === "spin") while (true) {}
    if (step === "wait") await scheduler.wait(200_000);
    return new Response("done");
} }"""


def _started(server: Server, before: set[int]) -> int:
    """The pid of the one instance that was not there before."""
    (pid,) = instances(server) - before
    return pid


def _wait_for_work(pid: int) -> None:
    """Until the process has used the CPU for a while."""
    process = psutil.Process(pid)
    used_s = sum(process.cpu_times()[:2])
    wait_until(lambda: sum(process.cpu_times()[:2]) > used_s + 0.05, what="the busy loop")


def _wait_for_connection(pid: int, count: int) -> None:
    """Until the instance serves this many connections: descriptors of unix sockets, less the listening one."""

    def sockets() -> int:
        found = 0
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found += os.readlink(fd).startswith("socket:")
        return found

    wait_until(lambda: sockets() >= count + 1, what=f"{count} connections")


def test_a_loop_that_is_stuck_at_the_deadline_ends_on_the_spot(server: Server, kapso: Kapso) -> None:
    before = instances(server)
    function_id = limited(kapso, _STEPS, timeout_ms=500, cpu_ms=60_000)
    pid = _started(server, before)
    began = time.monotonic()
    reply = kapso.invoke(function_id, "spin")
    assert reply.json()["detail"] == "Function execution timeout (500ms)"
    assert time.monotonic() - began >= 0.5
    wait_until(lambda: not psutil.pid_exists(pid), what="the end of the stuck instance")
    report = record_of(server, reply).report
    assert report is not None
    assert (report["limit"], report["allowed"], report["stuck"]) == ("time", 500, True)
    wait_until(lambda: kapso.invoke(function_id, "return").text == "done", what="the function at work again")
    once_within(1.5, lambda: kapso.invoke(function_id, "spin"), tries=20)


def test_a_loop_after_the_reply_ends_at_the_cpu_limit_however_short_a_call_may_be(server: Server, kapso: Kapso) -> None:
    before = instances(server)
    code = """export default { async fetch(request, env, ctx) {
        ctx.waitUntil(scheduler.wait(20).then(() => { while (true) {} }));
        return new Response("done");
    } }"""
    function_id = limited(kapso, code, timeout_ms=500, cpu_ms=700)
    pid = _started(server, before)
    assert kapso.invoke(function_id).text == "done"
    # One that is stuck gets a thirtieth of what others get, so that takes long while others want much.
    wait_until(lambda: not psutil.pid_exists(pid), timeout_s=240, what="the end of the busy loop")


def test_a_call_over_its_time_is_cancelled_and_its_instance_goes_on(server: Server, kapso: Kapso) -> None:
    function_id = limited(
        kapso,
        """let seen = "", began = 0;
        async function handler(request) {
            if (await request.json() === "slow") {
                began = Date.now();
                seen += "began ";
                await scheduler.wait(1500);
                seen += "went on";
            }
            return Response.json({ seen, for_ms: Date.now() - began });
        }""",
        timeout_ms=1000,
    )
    reply = kapso.invoke(function_id, "slow")
    assert reply.json()["detail"] == "Function execution timeout (1000ms)"

    def later() -> str:
        """What there is to see once the other call would have gone on."""
        told = kapso.invoke(function_id, "look").json()
        return str(told["seen"]) if told.get("for_ms", 0) > 2000 else ""

    assert wait_until(later, what="the time at which it would go on") == "began "
    report = record_of(server, reply).report
    assert report is not None
    assert (report["limit"], report["stuck"]) == ("time", False)


def test_a_process_that_dies_fails_its_call_alone(server: Server, kapso: Kapso) -> None:
    before = instances(server)
    function_id = limited(kapso, _STEPS)
    pid = _started(server, before)
    for _ in range(5):
        assert kapso.invoke(function_id, "return").text == "done"
    with ThreadPoolExecutor() as threads:
        call = threads.submit(kapso.invoke, function_id, "spin")
        _wait_for_work(pid)
        os.kill(pid, signal.SIGKILL)
        reply = call.result(60)
    assert reply.status_code == 500
    assert reply.json()["detail"] == "The function's process ended while it ran this call (signal 9)"
    record = record_of(server, reply)
    assert record.outcome == "crashed"
    assert record.report is not None
    assert (record.report["limit"], record.report["detail"]) == ("crash", "signal 9")
    assert kapso.invoke(function_id, "return").text == "done"


def test_calls_that_the_function_never_saw_run_again_and_others_fail_clearly(server: Server, kapso: Kapso) -> None:
    before = instances(server)
    function_id = limited(kapso, _STEPS, cpu_ms=700, timeout_ms=240_000, max_instances=1)
    pid = _started(server, before)
    with ThreadPoolExecutor() as threads:
        seen: Future[httpx.Response] = threads.submit(kapso.invoke, function_id, "wait")
        _wait_for_connection(pid, 1)
        bad = threads.submit(kapso.invoke, function_id, "spin")
        _wait_for_work(pid)
        unseen = [threads.submit(kapso.invoke, function_id, "return") for _ in range(3)]
        hit, culprit, rerun = seen.result(240), bad.result(240), [call.result(240) for call in unseen]
    assert [(reply.status_code, reply.text) for reply in rerun] == [(200, "done")] * 3
    assert culprit.status_code == hit.status_code == 500
    assert re.search(r"exceeded its CPU limit: it used \d+ ms of 700 ms", hit.json()["detail"])
    report = record_of(server, culprit).report
    assert report is not None
    assert (report["limit"], report["hit"], report["rerun"]) == ("cpu", 1, 3)
    assert all(record_of(server, reply).outcome == "ok" for reply in rerun)


def test_memory_over_its_limit_is_ended_soon(server: Server, kapso: Kapso) -> None:
    over_s = []
    for _ in range(10):
        over_s.append(_time_over(server, kapso))
        # The promise is 200 ms; the rest is for this test's own share. Other work may hold up some tries, but not all.
        if over_s[-1] < 0.45:
            return
    raise AssertionError(over_s)


def _time_over(server: Server, kapso: Kapso) -> float:
    """Seconds from the moment in which a call of a new function is over its memory to the end of its process."""
    before = instances(server)
    function_id = limited(
        kapso,
        """const kept = [];
        async function handler() {
            while (true) { kept.push(new Uint8Array(1 << 20).fill(1)); await scheduler.wait(5); }
        }""",
        memory_limit_mb=64,
    )
    pid = _started(server, before)
    base = _anonymous_kb(pid)
    over_at: list[float] = []

    def watch() -> None:
        while (now := _anonymous_kb(pid)) >= 0:
            if now - base > 64 * 1024 and not over_at:
                over_at.append(time.monotonic())
        over_at.append(time.monotonic())

    watcher = threading.Thread(target=watch)
    watcher.start()
    reply = kapso.invoke(function_id)
    assert "exceeded its memory limit" in reply.json()["detail"]
    watcher.join(60)
    crossed, gone = over_at
    return gone - crossed


def _anonymous_kb(pid: int) -> int:
    """RssAnon; -1 for a process that is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return -1
    found = re.search(r"RssAnon:\s+(\d+)", status)
    return int(found[1]) if found else -1


@pytest.mark.serial
def test_the_cpu_limit_holds_on_a_machine_that_is_busy_with_other_work(server: Server, kapso: Kapso) -> None:
    function_id = limited(kapso, _STEPS, cpu_ms=50)
    # The kernel may share out by session first, so each is in one of its own.
    hog = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(hog, start_new_session=True) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        reply = kapso.invoke(function_id, "spin")
    finally:
        for other in others:
            other.kill()
            other.wait(60)

    report = record_of(server, reply).report
    assert report is not None
    assert (reply.status_code, report["limit"], report["allowed"]) == (500, "cpu", 50)
