import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from isolet.database import invocations as stored
from isolet.database.connection import Database
from isolet.domain.invocations import Kind, Outcome
from isolet.errors import (
    ClientDisconnected,
    FunctionCrashed,
    FunctionTimeout,
    HandlerFailed,
    NotDeployed,
    TooLarge,
    TooManyRequests,
)
from isolet.ids import ProjectId
from isolet.invoke.bodies import Bodies, Hold
from isolet.invoke.spool import Spooled
from isolet.observe.recorder import Recorder
from isolet.runtime.sandbox import Sandbox
from isolet.runtime.usage import is_ending
from isolet.toolchain import Toolchain
from tests.support.calling import Harness, a_harness, with_short_hour
from tests.support.programs import script
from tests.support.runtime import Runtime

# What calls write is tested on each database in test_recorded_call.py; the rest is the same on each.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

ECHO = """
export default async (request) => Response.json({
  method: request.method,
  path: new URL(request.url).pathname + new URL(request.url).search,
  scheme: new URL(request.url).protocol,
  headers: Object.fromEntries(request.headers),
  body: await request.text(),
});
"""
# Stands in for workerd: it answers the first request on a connection, and closes at the second without a word. One that
# says `seen` it takes first.
FORGETFUL = """
import os, socket, sys, time
def fd(name): return int(next(part for part in sys.argv if part.startswith(name)).rpartition("=")[2])
listener = socket.socket(fileno=fd("--socket-fd=http="))
listener.setblocking(True)
os.write(fd("--control-fd="), b"listening")
count = 0
while True:
    connection, _ = listener.accept()
    data = b""
    while not data.endswith(b"end") and (chunk := connection.recv(65536)):
        data += chunk
    if b"leaves" in data:
        # Nobody is taken in any more, and the process ends a moment later.
        listener.close()
    if data:
        count += 1
        connection.sendall(b"HTTP/1.1 200 OK\\r\\ncontent-length: 1\\r\\n\\r\\n%d" % count)
    if b"leaves" in data:
        connection.close()
        time.sleep(0.1)
        sys.exit()
    if b"seen" in connection.recv(65536, socket.MSG_PEEK):
        connection.recv(65536)
    connection.close()
"""


async def test_a_function_sees_its_callers_request(harness: Harness) -> None:
    route = harness.route(ECHO)
    headers = [(b"x-api-key", b"k"), (b"x-custom", b"v"), (b"connection", b"keep-alive")]
    seen = await harness.json(route, b"hello", method=b"PUT", target=b"/a%20b?c=d", headers=headers, scheme="https")
    assert seen == {
        "method": "PUT",
        "path": "/a%20b?c=d",
        "scheme": "https:",
        "headers": {"content-length": "5", "host": "isolet.example", "x-custom": "v"},
        "body": "hello",
    }


@pytest.mark.parametrize("size", [0, 1, 16_384, 16_385, 3_000_000])
async def test_bodies_pass_whole_and_are_recorded_up_to_16_kib(harness: Harness, size: int) -> None:
    route = harness.route("export default (request) => new Response(request.body);")
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    reply = await harness.call(route, body)
    assert await reply.read(size + 1) == body
    record = await harness.record(route)
    assert record.request_body == record.response_body == body[:16_384]
    assert record.request_truncated is record.response_truncated is (size > 16_384)


@pytest.mark.parametrize("length", [None, b"6"])
async def test_a_streamed_body_arrives_whole(harness: Harness, length: bytes | None) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for part in (b"abc", b"", b"def"):
            yield part

    route = harness.route(ECHO)
    headers = [(b"content-length", length)] if length else []
    assert (await harness.json(route, parts(), headers=headers))["body"] == "abcdef"
    assert (await harness.record(route)).request_body == b"abcdef"


async def test_a_body_that_turns_out_too_large_ends_the_call(harness: Harness) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"some"
        raise TooLarge("Request body is larger than 1 MB")

    route = harness.route(ECHO)
    with pytest.raises(TooLarge):
        await harness.call(route, parts())
    assert (await harness.record(route)).outcome is Outcome.INTERNAL


async def test_a_reply_comes_as_it_is_made(harness: Harness) -> None:
    module = """
    export default () => {
      const { readable, writable } = new IdentityTransformStream();
      const writer = writable.getWriter();
      (async () => {
        await writer.write(new TextEncoder().encode("first"));
        await scheduler.wait(200);
        await writer.write(new TextEncoder().encode("second"));
        await writer.close();
      })();
      return new Response(readable);
    };
    """
    reply = await harness.call(harness.route(module))
    assert await reply.chunk() == b"first"
    assert not reply.finish_if_read()
    assert await reply.chunk() == b"second"
    assert await reply.chunk() == b""


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE", b"OPTIONS"])
async def test_a_call_without_a_body_sends_none(harness: Harness, method: bytes) -> None:
    module = "export default (request) => new Response(null, { headers: { seen: String(request.body) } });"
    reply = await harness.call(harness.route(module), method=method)
    assert (b"seen", b"null") in reply.headers
    assert await reply.read(100) == b""


async def test_a_function_that_is_not_deployed_is_not_called(harness: Harness) -> None:
    route = replace(harness.route(ECHO), version=None)
    with pytest.raises(NotDeployed, match=r"^Function is not deployed$"):
        await harness.call(route)
    await harness.recorder.flush(10)
    assert await harness.database.read(stored.list_invocations, route.function_id, limit=10) == []


FAILURES = [
    ("throw new TypeError('on purpose');", "TypeError: on purpose"),
    ("throw 'a string';", "a string"),
    ("throw undefined;", "undefined"),
    ("throw { toString() { throw 1; } };", "the handler threw a value that cannot be shown"),
    ("return 'text';", "TypeError: the handler must return a Response, it returned text"),
    ("return undefined;", "TypeError: the handler must return a Response, it returned undefined"),
    ("return { a: 1 };", "TypeError: the handler must return a Response, it returned an object of Object"),
    ("throw Object.defineProperty(new Error('shown'), 'stack', { get() { throw 1; } });", "Error: shown"),
    (
        "const reply = new Response('a'); reply.text(); return reply;",
        "TypeError: the handler returned a Response whose body was read before: return a new one, or a `clone()`",
    ),
    (
        "return new Promise(() => {});",
        "The handler never produced a response: its promise can never settle, or the runtime cancelled the call",
    ),
]


@pytest.mark.parametrize(("body", "message"), FAILURES)
async def test_a_handler_that_fails_is_told_and_recorded(harness: Harness, body: str, message: str) -> None:
    route = harness.route(f"export default async () => {{ {body} }};")
    with pytest.raises(HandlerFailed) as told:
        await harness.call(route, b"sent")
    record = await harness.record(route)
    assert told.value.message == record.error == message
    assert told.value.details == {"invocation_id": record.id}
    assert (record.status, record.outcome, record.request_body) == (500, Outcome.HANDLER_FAILED, b"sent")


async def test_a_stack_names_the_functions_own_lines_only(harness: Harness) -> None:
    route = harness.route("function inner() {\n  throw new Error('no');\n}\nexport default () => inner();")
    with pytest.raises(HandlerFailed) as told:
        await harness.call(route)
    assert told.value.stack is not None
    assert told.value.stack.splitlines()[0] == "Error: no"
    assert "function.js:2:" in told.value.stack
    assert "isolet" not in told.value.stack


async def test_what_a_function_throws_can_be_recorded_whatever_it_holds(harness: Harness) -> None:
    route = harness.route(r"export default () => { throw new Error('a\ud800b\u0000c' + 'x'.repeat(600)); };")
    with pytest.raises(HandlerFailed):
        await harness.call(route)
    record = await harness.record(route)
    assert record.error == ("Error: a\ufffdb\ufffdc" + "x" * 600)[:512]


@pytest.mark.parametrize("status", [500, 503, 404])
async def test_a_functions_own_error_reply_is_no_failure(harness: Harness, status: int) -> None:
    route = harness.route(f"export default () => new Response('Internal Server Error', {{ status: {status} }});")
    reply = await harness.call(route)
    assert (reply.status, await reply.read(100)) == (status, b"Internal Server Error")
    assert (await harness.record(route)).outcome is Outcome.OK


@pytest.mark.parametrize("body", ["'no report'", "'{}'", "'[1]'", '\'{"message": 5, "stack": 5}\'', "null"])
async def test_a_reply_that_imitates_our_report_of_a_failure_is_a_failure(harness: Harness, body: str) -> None:
    route = harness.route(
        f"export default () => new Response({body}, {{ status: 500, headers: {{ 'X-Isolet-Error': '1' }} }});"
    )
    with pytest.raises(HandlerFailed) as told:
        await harness.call(route)
    assert told.value.stack is None or isinstance(told.value.stack, str)
    assert (await harness.record(route)).outcome is Outcome.HANDLER_FAILED


async def test_a_call_over_its_time_is_ended(harness: Harness) -> None:
    route = harness.route("export default async () => { await scheduler.wait(60_000); };", timeout_ms=150)
    with pytest.raises(FunctionTimeout, match=r"^Function execution timeout \(150ms\)$"):
        await harness.call(route)
    record = await harness.record(route)
    assert (record.status, record.outcome) == (504, Outcome.TIMEOUT)
    assert 145_000 <= record.duration_us < 5_000_000


async def test_a_call_that_waits_for_room_longer_than_its_time_is_told_to_come_back(harness: Harness) -> None:
    module = """
    export default () => new Response(new ReadableStream({
      pull(controller) { controller.enqueue(new Uint8Array(65_536)); },
    }));
    """
    route = harness.route(module, concurrency=1, max_instances=1)
    running = await harness.call(route)

    with pytest.raises(TooManyRequests, match="as many calls as it may") as refused:
        await harness.call(replace(route, limits=replace(route.limits, timeout_ms=100)))
    assert refused.value.retry_after_s == 1
    assert "invocation_id" not in refused.value.details
    running.close()
    assert (await harness.record(route)).outcome is not Outcome.TIMEOUT


async def test_a_caller_that_leaves_while_it_waits_for_room_waits_no_longer(harness: Harness) -> None:
    module = """
    export default () => new Response(new ReadableStream({
      pull(controller) { controller.enqueue(new Uint8Array(65_536)); },
    }));
    """
    route = harness.route(module, concurrency=1, max_instances=1, timeout_ms=600_000)
    running = await harness.call(route)
    left = asyncio.Event()

    async def gone() -> None:
        await left.wait()

    waiting = asyncio.ensure_future(harness.call(route, gone=gone))
    left.set()
    with pytest.raises(ClientDisconnected, match=r"^the caller left$"):
        await waiting
    (instance,) = harness.pool.instances
    assert instance.active == 1, "the place is another's still"
    running.close()


async def test_a_call_whose_loop_never_turns_is_ended_with_its_process(harness: Harness) -> None:
    module = "export default async (r) => { if (new URL(r.url).search) for (;;) {} return new Response('ok'); };"
    route = harness.route(module, timeout_ms=2_000)
    with capture_logs(), pytest.raises(FunctionTimeout):
        await harness.call(route)
    # With the start of another instance, on a machine with other work.
    patient = replace(route, limits=replace(route.limits, timeout_ms=60_000))
    reply = await harness.call(patient, target=b"/")
    assert await reply.read(10) == b"ok"


async def test_a_reply_over_its_time_breaks_off(harness: Harness) -> None:
    module = """
    export default () => {
      const { readable, writable } = new IdentityTransformStream();
      const writer = writable.getWriter();
      (async () => {
        await writer.write(new TextEncoder().encode("first"));
        while (true) await scheduler.wait(1000);
      })();
      return new Response(readable);
    };
    """
    # With the start of the instance, on a machine with other work.
    route = harness.route(module, timeout_ms=5000)
    reply = await harness.call(route)
    assert await reply.chunk() == b"first"
    with pytest.raises(FunctionTimeout):
        await reply.read(100)
    record = await harness.record(route)
    assert record.response_body == b"first"
    assert record.outcome is Outcome.TIMEOUT


async def test_a_reply_that_its_caller_does_not_take_ends_with_its_time(harness: Harness) -> None:
    module = """
    export default () => new Response(new ReadableStream({
      pull(controller) { controller.enqueue(new Uint8Array(65_536)); },
    }));
    """
    route = harness.route(module, timeout_ms=5000, concurrency=1)
    reply = await harness.call(route)
    assert (await reply.chunk())[:1] == b"\0"
    record = await harness.record(route)
    assert (record.outcome, record.duration_us >= 4_990_000) == (Outcome.TIMEOUT, True)
    assert [instance.active for instance in harness.pool.instances] == [0]
    with pytest.raises(FunctionTimeout):
        await reply.read(100_000_000)


async def test_a_crash_is_told_to_the_calls_it_hit(harness: Harness) -> None:
    route = harness.route("export default async () => { console.log('running'); await scheduler.wait(60_000); };")
    calling = asyncio.ensure_future(harness.call(route))
    async with asyncio.timeout(60):
        while not any(call.console for call in harness.recorder._open.values()):
            await asyncio.sleep(0.005)
    (instance,) = harness.pool.instances
    with capture_logs():
        os.kill(instance.pid, signal.SIGKILL)
        with pytest.raises(FunctionCrashed, match=r"^The function's process ended while it ran this call") as told:
            await calling
    record = await harness.record(route)
    assert told.value.details == {"invocation_id": record.id}
    assert (record.status, record.outcome, record.error) == (502, Outcome.CRASHED, told.value.message)
    assert [line.message for line in record.console] == ["running"]


async def test_code_that_does_not_start_is_a_crash(harness: Harness) -> None:
    route = harness.route("throw new Error('on purpose');")
    with capture_logs(), pytest.raises(FunctionCrashed, match="The function did not start: Error: on purpose"):
        await harness.call(route)
    assert (await harness.record(route)).outcome is Outcome.CRASHED


async def test_a_caller_that_leaves_ends_the_call(harness: Harness) -> None:
    module = "export default async () => { console.log('running'); await scheduler.wait(60_000); };"
    route = harness.route(module)
    left = asyncio.Event()

    async def gone() -> None:
        await left.wait()

    calling = asyncio.ensure_future(harness.call(route, gone=gone))
    async with asyncio.timeout(60):
        while not any(call.console for call in harness.recorder._open.values()):
            await asyncio.sleep(0.005)
    left.set()
    with pytest.raises(ClientDisconnected, match=r"^the caller left$"):
        await calling
    record = await harness.record(route)
    assert (record.status, record.outcome) == (499, Outcome.DISCONNECTED)
    (instance,) = harness.pool.instances
    assert instance.active == 0


async def test_a_reply_that_is_given_up_is_recorded_as_left(harness: Harness) -> None:
    route = harness.route("export default () => new Response('x'.repeat(3_000_000));")
    reply = await harness.call(route)
    await reply.chunk()
    reply.close()
    reply.close()
    record = await harness.record(route)
    assert (record.status, record.outcome) == (499, Outcome.DISCONNECTED)
    assert await (await harness.call(route)).read(3_000_000) == b"x" * 3_000_000


async def test_a_reply_over_a_limit_is_refused(harness: Harness) -> None:
    reply = await harness.call(harness.route("export default () => new Response('x'.repeat(101));"))
    with pytest.raises(HandlerFailed, match=r"^The reply is larger than 100 bytes$"):
        await reply.read(100)


async def test_many_calls_at_once_keep_their_replies_and_lines_apart(harness: Harness) -> None:
    module = """
    export default async (request) => {
      const text = await request.text();
      await scheduler.wait(Math.random() * 20);
      console.log(text);
      return new Response(text);
    };
    """
    route = harness.route(module)
    texts = [b"%d" % number for number in range(60)]
    replies = await asyncio.gather(*(harness.call(route, text) for text in texts))
    assert [await reply.read(100) for reply in replies] == texts
    await harness.recorder.flush(10)
    records = await harness.database.read(stored.list_invocations, route.function_id, limit=100)
    assert len(records) == 60
    for record in records:
        assert record.request_body == record.response_body
        assert [line.message.encode() for line in record.console] == [record.request_body]


@pytest.fixture
async def forgetful(
    runtime: Runtime, database: Database, toolchain: Toolchain, tmp_path: Path
) -> AsyncIterator[Harness]:
    """Instances of a program that closes a connection when it is used a second time."""
    sandbox = Sandbox(replace(toolchain, workerd=script(tmp_path / "workerd", FORGETFUL)), enabled=False)
    recorder = Recorder(database)
    async with (
        replace(runtime, sandbox=sandbox).pool(recorder.print) as pool,
        a_harness(pool, database, recorder) as made,
    ):
        yield made


async def test_a_connection_that_was_closed_while_idle_is_replaced_unnoticed(forgetful: Harness) -> None:
    route = forgetful.route("")
    for count in (b"1", b"2", b"3"):
        assert await (await forgetful.call(route, b"the end")).read(10) == count
    await forgetful.recorder.flush(10)
    records = await forgetful.database.read(stored.list_invocations, route.function_id, limit=10)
    assert [record.request_body for record in records] == [b"the end"] * 3
    assert [record.outcome for record in records] == [Outcome.OK] * 3


async def test_a_call_to_a_process_that_is_ending_runs_in_the_next_one(forgetful: Harness) -> None:
    route = forgetful.route("")
    with capture_logs():
        assert await (await forgetful.call(route, b"it leaves at the end")).read(10) == b"1"
        (instance,) = forgetful.pool.instances
        assert await (await forgetful.call(route, b"the end")).read(10) == b"1"
    assert instance not in forgetful.pool.instances


async def test_a_call_that_was_read_is_not_sent_twice(forgetful: Harness) -> None:
    route = forgetful.route("")
    assert await (await forgetful.call(route, b"the end")).read(10) == b"1"
    with pytest.raises(HandlerFailed, match="broke its reply off"):
        await forgetful.call(route, b"seen: the end")
    assert await (await forgetful.call(route, b"the end")).read(10) == b"2"


async def test_a_streamed_call_is_not_sent_twice(forgetful: Harness) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"the end"

    route = forgetful.route("")
    assert await (await forgetful.call(route, b"the end")).read(10) == b"1"
    with pytest.raises(HandlerFailed, match="broke its reply off"):
        await forgetful.call(route, parts(), headers=[(b"content-length", b"7")])


@pytest.fixture
async def bodies(tmp_path: Path) -> AsyncIterator[Bodies]:
    made = Bodies(memory_bytes=2**24, disk_bytes=2**24, folder=tmp_path / "spool", wait_s=10)
    yield made
    made.close()


async def spooled(bodies: Bodies, content: bytes) -> Spooled:
    body = Spooled(bodies, Hold(bodies, ProjectId("p")))
    await body.write(content)
    await body.end()
    return body


async def test_a_body_on_disk_runs_in_the_next_process_when_the_first_is_ending(
    forgetful: Harness, bodies: Bodies
) -> None:
    route = forgetful.route("")
    body = await spooled(bodies, b"x" * 2_000 + b"the end")
    with capture_logs():
        assert await (await forgetful.call(route, b"it leaves at the end")).read(10) == b"1"
        (instance,) = forgetful.pool.instances
        assert await (await forgetful.call(route, body)).read(10) == b"1"
    assert instance not in forgetful.pool.instances
    body.close()


async def test_a_body_on_disk_is_sent_again_whole_on_another_connection(forgetful: Harness, bodies: Bodies) -> None:
    route = forgetful.route("")
    content = b"x" * 2_000 + b"the end"
    body = await spooled(bodies, content)
    for count in (b"1", b"2", b"3"):
        assert await (await forgetful.call(route, body)).read(10) == count
    await forgetful.recorder.flush(10)
    records = await forgetful.database.read(stored.list_invocations, route.function_id, limit=10)
    assert [record.request_body for record in records] == [content] * 3
    body.close()


async def test_a_body_on_disk_that_a_crashed_process_had_not_read_is_sent_to_the_next_one(
    harness: Harness, bodies: Bodies
) -> None:
    route = harness.route(ECHO, concurrency=10)
    assert (await harness.json(route, b"first"))["body"] == "first"
    (instance,) = harness.pool.instances
    content = bytes(range(32, 127)) * 30
    body = await spooled(bodies, content)
    with capture_logs():
        # It takes nothing any more, as when the machine has no time for it; then it is killed.
        os.kill(instance.pid, signal.SIGSTOP)
        calling = asyncio.ensure_future(harness.json(route, body))
        async with asyncio.timeout(60):
            while not any(connection.unread for connection in instance.calls):
                await asyncio.sleep(0.005)
        os.kill(instance.pid, signal.SIGKILL)
        assert (await calling)["body"] == content.decode()
    assert instance not in harness.pool.instances
    await harness.recorder.flush(10)
    last, _ = await harness.database.read(stored.list_invocations, route.function_id, limit=10)
    assert (last.outcome, last.request_body) == (Outcome.OK, content)
    body.close()


async def test_a_body_on_disk_that_a_crashed_process_may_have_read_is_not_sent_again(
    harness: Harness, bodies: Bodies
) -> None:
    route = harness.route("export default async () => { console.log('running'); await scheduler.wait(60_000); };")
    body = await spooled(bodies, b"x" * 1_000_000)
    calling = asyncio.ensure_future(harness.call(route, body))
    async with asyncio.timeout(60):
        while not any(call.console for call in harness.recorder._open.values()):
            await asyncio.sleep(0.005)
    (instance,) = harness.pool.instances
    with capture_logs():
        os.kill(instance.pid, signal.SIGKILL)
        with pytest.raises(FunctionCrashed, match=r"^The function's process ended while it ran this call"):
            await calling
    assert (await harness.record(route)).outcome is Outcome.CRASHED
    body.close()


async def test_no_body_is_sent_to_a_process_that_ends(harness: Harness, bodies: Bodies) -> None:
    """Its sockets are open until its last thread has ended."""
    route = harness.route(ECHO, concurrency=10)
    large = b"x" * 100_000

    async def parts() -> AsyncIterator[bytes]:
        yield b"in "
        yield b"parts"

    with capture_logs():
        for _ in range(3):
            assert (await harness.json(route, b"first"))["body"] == "first"
            (instance,) = harness.pool.instances
            os.kill(instance.pid, signal.SIGKILL)
            # The loop has no turn meanwhile, and hears of the end later.
            deadline = time.monotonic() + 60
            while not is_ending(instance.pid) and time.monotonic() < deadline:
                pass
            body = await spooled(bodies, large)
            replies = await asyncio.gather(*(harness.json(route, sent) for sent in (large, parts(), body)))
            assert [reply["body"] for reply in replies] == [large.decode(), "in parts", large.decode()]
            body.close()


DRIPS = """
export default async (request) => {
  const parts = Number(new URL(request.url).searchParams.get("parts"));
  const { readable, writable } = new IdentityTransformStream();
  const writer = writable.getWriter();
  (async () => {
    for (let part = 0; part < parts; part++) {
      await writer.write(new TextEncoder().encode("."));
      await scheduler.wait(400);
    }
    await writer.close();
  })().catch(() => {});
  return new Response(readable);
};
"""


async def test_a_reply_that_goes_on_may_take_longer_than_the_timeout(harness: Harness) -> None:
    route = harness.route(DRIPS, timeout_ms=3000)
    reply = await harness.call(route, target=b"/?parts=10")
    assert await reply.read(100) == b"." * 10
    record = await harness.record(route)
    assert record.outcome is Outcome.OK
    assert record.duration_us > 3_000_000


async def test_an_asynchronous_call_is_over_after_its_timeout_in_all(harness: Harness) -> None:
    route = harness.route(DRIPS, timeout_ms=1500)

    async def whole() -> None:
        reply = await harness.call(route, target=b"/?parts=1000", kind=Kind.ASYNC)
        await reply.read(10_000)

    # On a busy machine the beginning may take as long.
    with pytest.raises(FunctionTimeout, match=r"\(1500ms\)"):
        await whole()


async def test_a_reply_that_goes_on_is_over_after_an_hour(harness: Harness) -> None:
    """Here an hour is a second and a half."""
    route = harness.route(DRIPS, timeout_ms=30_000)
    async with with_short_hour(harness, 1500) as limited:
        reply = await limited.call(route, target=b"/?parts=1000")
        with pytest.raises(FunctionTimeout):
            await reply.read(10_000)
        assert (await harness.record(route)).outcome is Outcome.TIMEOUT


async def test_who_calls_waits_no_longer_than_an_hour_for_the_beginning(harness: Harness) -> None:
    route = harness.route("export default async () => { await scheduler.wait(60_000); };", timeout_ms=86_400_000)
    async with with_short_hour(harness, 500) as limited:
        with pytest.raises(FunctionTimeout, match=r"\(500ms\)"):
            await limited.call(route)
