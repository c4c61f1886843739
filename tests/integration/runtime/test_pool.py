import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from isolet.domain.invocations import ConsoleLine
from isolet.domain.limits import Limits
from isolet.errors import BuildFailed, FunctionCrashed, TooManyRequests, Unavailable
from isolet.ids import FunctionId, ProjectId
from isolet.runtime.lifecycle import State
from isolet.runtime.places import Budget
from isolet.runtime.pool import Pool
from isolet.runtime.spec import InstanceSpec
from isolet.threads import account
from tests.support.runtime import Lines, Runtime, a_spec, acquire, fetch, ready

HELLO = "export default () => new Response('hello');"
# Answers /wait only once /go was asked for, and /later at once while a promise of it is still open.
GATE = """
let open = false;
export default {
  async fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    if (pathname === "/go") { open = true; return new Response("gone"); }
    if (pathname === "/wait") {
      console.log("waiting");
      while (!open) await scheduler.wait(5);
      return new Response("waited");
    }
    if (pathname === "/later") {
      ctx.waitUntil(scheduler.wait(300).then(() => console.log("finished")));
      return new Response("now");
    }
    return new Response("ready");
  },
};
"""


async def until(look: Callable[[], object], what: str, timeout_s: float = 60.0) -> None:
    """Wait for what another process brings about."""
    try:
        async with asyncio.timeout(timeout_s):
            while not look():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"{what} did not happen within {timeout_s} s") from None


async def starting(pool: Pool) -> None:
    """Wait for the first process; in each turn of the loop, since it may end between two looks further apart."""
    async with asyncio.timeout(60):
        while not pool.instances:
            await asyncio.sleep(0)


async def test_an_instance_starts_when_it_is_asked_for(pool: Pool) -> None:
    spec = a_spec(HELLO)
    assert ready(pool, spec) is None
    instance = await acquire(pool, spec)
    assert instance.state is State.READY
    assert ready(pool, spec) is instance
    assert await fetch(instance) == (200, b"hello")


async def test_what_is_done_for_an_instance_is_its_projects_work(runtime: Runtime, lines: Lines) -> None:
    whose: list[str] = []
    spec = a_spec("console.log('loads'); " + HELLO)

    def hear(_: InstanceSpec, line: ConsoleLine) -> None:
        whose.append(f"{line.message} {account()}")

    async with runtime.pool(lines, on_own_line=hear) as pool:
        await acquire(pool, spec)
        await until(lambda: whose, "the line of its module")
    assert whose == [f"loads {spec.project_id}"]


async def test_many_callers_wait_for_one_start(pool: Pool) -> None:
    spec = a_spec(HELLO)
    loads = 0

    async def load() -> InstanceSpec:
        nonlocal loads
        loads += 1
        return spec

    asked = (spec.release, spec.limits, load)
    found = await asyncio.gather(*(pool.acquire(*asked, project_id=spec.project_id, within_s=20) for _ in range(50)))
    assert (len(set(found)), loads, len(pool.instances)) == (1, 1, 1)
    assert await pool.acquire(*asked, project_id=spec.project_id, within_s=20) is found[0]
    assert loads == 1


async def test_a_caller_that_leaves_does_not_end_the_start_for_others(pool: Pool) -> None:
    spec = a_spec(HELLO)
    leaving, staying = (asyncio.ensure_future(acquire(pool, spec)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await fetch(await staying) == (200, b"hello")
    assert leaving.cancelled()


async def test_each_release_has_a_process_of_its_own(pool: Pool) -> None:
    specs = [a_spec(f"let count = 0; export default () => new Response('{name}' + ++count);") for name in "ab"]
    instances = [await acquire(pool, spec) for spec in specs]
    assert len({instance.pid for instance in instances}) == 2
    replies = [await fetch(instance) for instance in [*instances, *instances]]
    assert replies == [(200, b"a1"), (200, b"b1"), (200, b"a2"), (200, b"b2")]


async def test_a_crashed_instance_is_replaced_at_the_next_call(pool: Pool) -> None:
    spec = a_spec(HELLO)
    first = await acquire(pool, spec)
    with capture_logs() as logs:
        os.kill(first.pid, signal.SIGKILL)
        await asyncio.wait_for(asyncio.shield(first.exited), 60)
        await until(lambda: ready(pool, spec) is None, "the crash")
    assert [(entry["event"], entry["status"]) for entry in logs] == [("instance crashed", "signal 9")]
    assert first.state is State.STOPPED

    second = await acquire(pool, spec)
    assert second is not first
    assert await fetch(second) == (200, b"hello")
    assert pool.instances == {second}


async def test_a_release_that_keeps_crashing_is_started_ever_later_until_a_call_succeeds(pool: Pool) -> None:
    spec = a_spec(HELLO)
    loop = asyncio.get_running_loop()

    async def start_and_crash() -> float:
        began = loop.time()
        instance = await acquire(pool, spec)
        took = loop.time() - began
        os.kill(instance.pid, signal.SIGKILL)
        await asyncio.wait_for(asyncio.shield(instance.exited), 60)
        await until(lambda: not pool.instances, "the crash")
        return took

    with capture_logs():
        pauses = [await start_and_crash() for _ in range(5)]
    # After the third crash it waits for 100 ms, after the fourth for 500 ms; starting itself takes some time too.
    assert pauses[3] >= 0.1
    assert pauses[4] >= 0.5

    instance = await acquire(pool, spec)
    pool.freed(instance, succeeded=True)
    with capture_logs():
        await start_and_crash()
    assert pool._groups[spec.release].pause_s == 0


async def test_nothing_is_kept_of_a_retired_release_that_crashed(pool: Pool) -> None:
    spec = a_spec(HELLO)
    instance = await acquire(pool, spec)
    with capture_logs():
        os.kill(instance.pid, signal.SIGKILL)
        await until(lambda: not pool.instances, "the crash")
    assert spec.release in pool._groups
    pool.retire(spec.release)
    assert spec.release not in pool._groups


async def test_nothing_is_kept_of_a_release_that_was_retired_while_it_failed_to_start(pool: Pool) -> None:
    spec = a_spec("throw new Error('on purpose');")
    call = asyncio.ensure_future(acquire(pool, spec))
    await starting(pool)
    with capture_logs():
        pool.retire(spec.release)
        with pytest.raises(FunctionCrashed, match="on purpose"):
            await call
    assert spec.release not in pool._groups


async def test_code_that_does_not_load_is_told_to_every_caller(pool: Pool) -> None:
    spec = a_spec("throw new Error('on purpose');")
    calls = [asyncio.ensure_future(acquire(pool, spec)) for _ in range(3)]
    with capture_logs():
        for call in calls:
            with pytest.raises(FunctionCrashed, match=r"^The function did not start: Error: on purpose$"):
                await call
    assert ready(pool, spec) is None
    await until(lambda: not pool.instances, "the end of the process")


async def test_code_that_does_not_load_in_time_is_told(runtime: Runtime, lines: Lines) -> None:
    # On a machine with much other work the shorter ones are over before the program is there.
    for timeout_s in (0.3, 2.0, 10.0):
        if await _stops_as_it_loads(runtime, lines, timeout_s):
            return
    raise AssertionError("the program was never there in time")


async def _stops_as_it_loads(runtime: Runtime, lines: Lines, timeout_s: float) -> bool:
    """Whether it came so far; then it has ended as it must."""

    def is_there() -> bool:
        return [_is_workerd(instance.pid) for instance in pool.instances] == [True]

    async with runtime.pool(lines, start_timeout_s=timeout_s) as pool:
        proving = asyncio.ensure_future(pool.prove(a_spec("for (;;) {}")))
        await until(lambda: proving.done() or is_there(), "the start")
        came = not proving.done()
        if came:
            (instance,) = pool.instances
            # It waits, as no module can make it: what spins is short of a processor, or ended for its CPU time.
            os.kill(instance.pid, signal.SIGSTOP)
        with pytest.raises(BuildFailed, match=rf"^the code did not load within {timeout_s:g} s$"):
            await proving
        await until(lambda: not pool.instances, "the end of the process")
    return came


def _is_workerd(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "workerd"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_code_that_spins_as_it_loads_is_told(pool: Pool) -> None:
    with pytest.raises(BuildFailed, match=r"^the code used more than its CPU time of 100 ms as it loaded$"):
        await pool.prove(a_spec("for (;;) {}", limits=Limits(cpu_ms=100)))
    await until(lambda: not pool.instances, "the end of the process")


async def test_proving_tells_what_is_wrong_with_the_code(pool: Pool) -> None:
    with pytest.raises(BuildFailed) as told:
        await pool.prove(a_spec("const a = 1;\nconst b = missing;\nexport default () => {};"))
    assert told.value.message == "ReferenceError: missing is not defined"
    assert (told.value.line, told.value.column, told.value.text) == (2, 11, "const b = missing;")


@pytest.mark.parametrize("thrown", ["new Proxy({}, { get() { throw 1; } })", "{ get message() { throw 1; } }"])
async def test_a_module_that_throws_what_the_runtime_cannot_tell_is_not_proven(pool: Pool, thrown: str) -> None:
    """The runtime listens all the same."""
    with pytest.raises(BuildFailed, match="cannot be shown"):
        await pool.prove(a_spec(f"throw {thrown}; export default () => new Response();"))
    await until(lambda: not pool.instances, "the end of the process")


@pytest.mark.parametrize("whole", ["function", "project"])
async def test_what_is_proven_for_one_that_is_gone_ends_at_once(pool: Pool, whole: str) -> None:
    spec = a_spec("for (;;) {}")
    proving = asyncio.ensure_future(pool.prove(spec))
    await starting(pool)
    (instance,) = pool.instances
    pool.retire_function(FunctionId("another"))
    pool.retire_project(ProjectId("another"))
    assert instance.state is State.STARTING
    if whole == "function":
        pool.retire_function(spec.function_id)
    else:
        pool.retire_project(spec.project_id)
    with pytest.raises(BuildFailed):
        await proving
    await asyncio.wait_for(asyncio.shield(instance.exited), 60)
    assert pool.instances == frozenset()


async def test_a_proven_instance_takes_over_its_release(pool: Pool) -> None:
    spec = a_spec(HELLO)
    instance = await pool.prove(spec)
    assert ready(pool, spec) is None
    pool.adopt(instance)
    assert ready(pool, spec) is instance

    another = await pool.prove(spec)
    pool.adopt(another)
    assert pool.instances == {instance, another}
    assert {instance.state, another.state} == {State.READY}


async def test_a_proven_instance_that_died_takes_nothing_over(pool: Pool) -> None:
    spec = a_spec(HELLO)
    instance = await pool.prove(spec)
    with capture_logs():
        os.kill(instance.pid, signal.SIGKILL)
        await asyncio.wait_for(asyncio.shield(instance.exited), 60)
        await until(lambda: instance.state is State.STOPPED, "the crash")
    pool.adopt(instance)
    assert ready(pool, spec) is None


async def test_a_proven_instance_that_is_not_wanted_ends(pool: Pool) -> None:
    instance = await pool.prove(a_spec(HELLO))
    pool.discard(instance)
    assert await asyncio.wait_for(asyncio.shield(instance.exited), 60) == -signal.SIGKILL
    assert not pool.instances


async def test_a_proven_instance_makes_room_as_another_would(runtime: Runtime, lines: Lines) -> None:
    async with runtime.pool(lines, budget=Budget(instances=1, memory_bytes=2**40)) as pool:
        proven, called = a_spec(HELLO), a_spec(HELLO)
        instance = await pool.prove(proven)
        assert await fetch(await acquire(pool, called)) == (200, b"hello")
        pool.adopt(instance)
        assert ready(pool, proven) is None
        assert await fetch(await acquire(pool, proven)) == (200, b"hello")


async def test_a_deploy_waits_for_the_end_of_a_call(runtime: Runtime, lines: Lines) -> None:
    async with runtime.pool(lines, budget=Budget(instances=1, memory_bytes=2**40)) as pool:
        first = await acquire(pool, a_spec(HELLO))
        first.begin_call()
        second = asyncio.ensure_future(pool.prove(a_spec(HELLO)))
        await until(lambda: pool._deploys.waiting, "the wait for room")
        first.end_call(None)
        pool.freed(first, succeeded=True)
        assert await fetch(await asyncio.wait_for(second, 60)) == (200, b"hello")


async def test_a_deploy_waits_for_the_end_of_another(runtime: Runtime, lines: Lines) -> None:
    async with runtime.pool(lines, budget=Budget(instances=1, memory_bytes=2**40)) as pool:
        first, second = (asyncio.ensure_future(pool.prove(a_spec(HELLO))) for _ in range(2))
        await until(lambda: pool._deploys.waiting, "the wait for room")
        pool.adopt(await first)
        assert await fetch(await asyncio.wait_for(second, 60)) == (200, b"hello")


async def test_a_deploy_does_not_wait_for_room_without_end(runtime: Runtime, lines: Lines) -> None:
    async with runtime.pool(lines, budget=Budget(instances=1, memory_bytes=2**40), queue_timeout_s=0.2) as pool:
        first = await pool.prove(a_spec(HELLO))
        first.begin_call()
        with pytest.raises(TooManyRequests, match="no room"):
            await pool.prove(a_spec(HELLO))
        first.end_call(None)
        assert not pool._deploys.waiting


async def test_instances_over_a_lowered_number_take_no_calls(pool: Pool) -> None:
    spec = a_spec(HELLO)
    first, second = [await pool.prove(spec) for _ in range(2)]
    pool.adopt(first)
    pool.adopt(second)
    first.begin_call()
    assert pool.ready(spec.release, Limits(max_instances=2)) is second
    assert pool.ready(spec.release, Limits(max_instances=1)) is first
    first.end_call(None)


async def test_a_retired_instance_finishes_its_calls_and_takes_no_new_ones(pool: Pool, lines: Lines) -> None:
    spec = a_spec(GATE)
    old = await acquire(pool, spec)
    waiting = asyncio.ensure_future(fetch(old, "/wait", call="c1"))
    await until(lambda: lines.messages == ["waiting"], "the call")

    pool.retire(spec.release)
    pool.retire(spec.release)

    assert ready(pool, spec) is None
    assert old.state is State.DRAINING
    new = await acquire(pool, spec)
    assert new is not old
    assert await fetch(new) == (200, b"ready")
    assert await fetch(old, "/go") == (200, b"gone")
    assert await waiting == (200, b"waited")
    await asyncio.wait_for(asyncio.shield(old.exited), 60)
    assert pool.instances == {new}


async def test_every_release_of_a_function_that_is_gone_retires(pool: Pool) -> None:
    gone = [a_spec(HELLO), a_spec(HELLO)]
    gone[1] = replace(gone[1], function_id=gone[0].function_id)
    other = await acquire(pool, a_spec(HELLO))
    instances = [await acquire(pool, spec) for spec in gone]

    pool.retire_function(gone[0].function_id)

    for instance in instances:
        await asyncio.wait_for(asyncio.shield(instance.exited), 60)
    assert pool.instances == {other}


async def test_work_left_to_wait_until_is_finished_before_the_old_instance_stops(pool: Pool, lines: Lines) -> None:
    spec = a_spec(GATE)
    instance = await acquire(pool, spec)
    assert await fetch(instance, "/later", call="c1") == (200, b"now")
    assert lines.messages == []

    pool.retire(spec.release)
    await asyncio.wait_for(asyncio.shield(instance.exited), 60)

    assert [(call, line.message) for call, line in lines.printed] == [("c1", "finished")]


@pytest.mark.parametrize(
    "change",
    [
        "globalThis.Response = undefined;",
        "JSON.stringify = undefined;",
        'Object.defineProperty(Request.prototype, "cf", { get() { return {}; } });',
    ],
)
async def test_an_instance_whose_function_changed_the_runtime_stops_all_the_same(pool: Pool, change: str) -> None:
    spec = a_spec("const { Response } = globalThis; export default () => new Response('hello');\n" + change)
    instance = await acquire(pool, spec)
    assert await fetch(instance) == (200, b"hello")

    pool.retire(spec.release)

    await asyncio.wait_for(asyncio.shield(instance.exited), 60)
    assert not pool.instances


async def test_a_retired_instance_does_not_wait_for_a_call_longer_than_it_may_run(pool: Pool, lines: Lines) -> None:
    spec = a_spec(GATE, limits=Limits(timeout_ms=1))
    instance = await acquire(pool, spec)
    waiting = asyncio.ensure_future(fetch(instance, "/wait"))
    await until(lambda: lines.messages == ["waiting"], "the call")
    pool.retire(spec.release)
    with pytest.raises(ConnectionResetError):
        await waiting
    await asyncio.wait_for(asyncio.shield(instance.exited), 60)


async def test_a_retired_instance_waits_as_long_as_a_call_may_run_whose_time_was_raised(
    pool: Pool, lines: Lines
) -> None:
    spec = a_spec(GATE, limits=Limits(timeout_ms=1))
    instance = await acquire(pool, spec)
    assert pool.ready(spec.release, Limits(timeout_ms=60_000)) is instance
    waiting = asyncio.ensure_future(fetch(instance, "/wait"))
    await until(lambda: lines.messages == ["waiting"], "the call")
    pool.retire(spec.release)
    # As long as the instance gave a call that may take a millisecond.
    await asyncio.wait({waiting}, timeout=1.2)
    assert await fetch(instance, "/go") == (200, b"gone")
    assert await waiting == (200, b"waited")


async def test_a_caller_of_a_release_that_retires_while_it_starts_is_served(pool: Pool, lines: Lines) -> None:
    spec = a_spec(GATE)

    async def call() -> tuple[int, bytes]:
        return await fetch(await acquire(pool, spec), "/wait")

    calling = asyncio.ensure_future(call())
    await starting(pool)
    pool.retire(spec.release)
    await until(lambda: lines.messages == ["waiting"], "the call")
    (instance,) = (found for found in pool.instances if found.active)
    # Long enough to be asked whether it has work left, before the call is let go.
    await asyncio.sleep(0.3)
    assert await fetch(instance, "/go") == (200, b"gone")
    assert await calling == (200, b"waited")


async def test_an_idle_instance_stops_and_starts_again_on_demand(runtime: Runtime, lines: Lines) -> None:
    spec = a_spec(HELLO)
    async with runtime.pool(lines, idle_timeout_s=0.1) as pool:
        first = await acquire(pool, spec)
        await asyncio.wait_for(asyncio.shield(first.exited), 60)
        assert ready(pool, spec) is None
        assert not pool.instances
        second = await acquire(pool, spec)
        assert await fetch(second) == (200, b"hello")


async def test_an_instance_with_a_call_is_not_idle(runtime: Runtime, lines: Lines) -> None:
    spec = a_spec(GATE)
    async with runtime.pool(lines, idle_timeout_s=0.05) as pool:
        instance = await acquire(pool, spec)
        waiting = asyncio.ensure_future(fetch(instance, "/wait", call="c1"))
        await until(lambda: lines.messages == ["waiting"], "the call")
        loop = asyncio.get_running_loop()
        await until(lambda: loop.time() > instance.last_used + 0.2, "some time")
        assert instance.state is State.READY
        assert await fetch(instance, "/go") == (200, b"gone")
        assert await waiting == (200, b"waited")
        await asyncio.wait_for(asyncio.shield(instance.exited), 60)


async def test_closing_lets_calls_finish_and_leaves_no_process(runtime: Runtime, lines: Lines) -> None:
    specs = [a_spec(GATE), a_spec(HELLO)]
    async with runtime.pool(lines) as pool:
        busy, idle = [await acquire(pool, spec) for spec in specs]
        proven = await pool.prove(a_spec(HELLO))
        pids = [instance.pid for instance in (busy, idle, proven)]
        waiting = asyncio.ensure_future(fetch(busy, "/wait", call="c1"))
        await until(lambda: lines.messages == ["waiting"], "the call")
        pool.discard(proven)

        closing = asyncio.ensure_future(pool.close(10.0))
        await asyncio.wait_for(asyncio.shield(idle.exited), 60)
        assert not closing.done()
        with pytest.raises(Unavailable, match=r"^the server is stopping$"), capture_logs():
            await acquire(pool, a_spec(HELLO))
        assert await fetch(busy, "/go") == (200, b"gone")
        assert await waiting == (200, b"waited")
        await closing

        assert not pool.instances
        assert not any(psutil.pid_exists(pid) for pid in pids)
    assert list((runtime.folder / "pids").iterdir()) == []
    assert list((runtime.folder / "sockets").iterdir()) == []


async def test_closing_waits_only_so_long(runtime: Runtime, lines: Lines) -> None:
    spec = a_spec(GATE)
    async with runtime.pool(lines) as pool:
        instance = await acquire(pool, spec)
        waiting = asyncio.ensure_future(fetch(instance, "/wait"))
        await until(lambda: lines.messages == ["waiting"], "the call")
        async with asyncio.timeout(60):
            await pool.close(0.1)
        assert not psutil.pid_exists(instance.pid)
        with pytest.raises(ConnectionResetError):
            await waiting


async def test_console_lines_come_with_their_call(pool: Pool, lines: Lines) -> None:
    module = """
    export default () => {
      console.warn("a\\nb", { c: 1 }, undefined);
      console.error(new TypeError("no"));
      return new Response();
    };
    """
    spec = a_spec(module)
    instance = await acquire(pool, spec)
    await fetch(instance, call="c1")
    await until(lambda: len(lines.printed) == 2, "the lines")

    (call, second), (_, third) = lines.printed
    assert (call, second.level, second.message, second.stack) == ("c1", "warn", 'a\nb {"c":1} undefined', None)
    assert (third.level, third.message) == ("error", "TypeError: no")
    assert third.stack is not None
    assert "function.js" in third.stack
    assert "isolet/" not in third.stack


async def test_what_is_written_to_standard_output_cannot_imitate_a_line_of_ours(pool: Pool, lines: Lines) -> None:
    module = r"""
    import process from "node:process";
    export default () => {
      process.stdout.write('\x1e["another call","error",1,"forged",null]\n');
      console.log('\x1e["another call","error",1,"forged",null]');
      return new Response();
    };
    """
    spec = a_spec(module)
    instance = await acquire(pool, spec)
    await fetch(instance, call="c1")
    await until(lambda: len(lines.printed) == 2, "the lines")
    assert {(call, line.level) for call, line in lines.printed} == {("c1", "log")}


async def test_lone_surrogates_are_printed_as_what_can_be_stored(pool: Pool, lines: Lines) -> None:
    spec = a_spec(r"export default () => { console.log('a\ud800b\u0000c 😀'); return new Response(); }")
    instance = await acquire(pool, spec)
    await fetch(instance, call="c1")
    await until(lambda: lines.printed, "the line")
    assert lines.messages == ["a\ufffdb\ufffdc 😀"]


async def test_sockets_of_instances_are_gone_with_them(pool: Pool, run_folder: Path) -> None:
    spec = a_spec(HELLO)
    instance = await acquire(pool, spec)
    assert len(list((run_folder / "sockets").iterdir())) == 1
    os.kill(instance.pid, signal.SIGKILL)
    await asyncio.wait_for(asyncio.shield(instance.exited), 60)
    await until(lambda: ready(pool, spec) is None, "the crash")
    assert list((run_folder / "sockets").iterdir()) == []
