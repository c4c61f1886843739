import asyncio
import json

import pytest
from msgspec.structs import replace

from isolet.domain.invocations import Invocation, Outcome
from isolet.errors import FunctionTimeout, NoHandler
from isolet.invoke.scheduled import Firing, FiringResult, fire
from isolet.routing.routes import Route
from isolet.runtime.envelope import CALL_HEADER, Event, EventName
from isolet.wire import heads
from tests.support.calling import Harness
from tests.support.runtime import acquire, fetch

# What is tested here is the same on each database.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

# Not as a parser would write it.
CRON = "*/5  0-6 * * MON,wed"
FIRING = Firing(cron=CRON, scheduled_time_ms=1_790_000_000_000)


class Named(Event, frozen=True):
    """An event of any name, as no host sends it."""

    text: str

    def line(self, call_id: bytes) -> bytes:
        return heads.line(CALL_HEADER.encode(), json.dumps({"id": "", "event": self.text}).encode())


async def fired(harness: Harness, module: str, **limits: int) -> tuple[Route, FiringResult]:
    route = harness.route(module, **limits)
    async with asyncio.timeout(60):
        return route, await fire(harness.invoker, route, FIRING)


def messages(record: Invocation) -> list[str]:
    return [line.message for line in record.console]


SHOW = """
  console.log(JSON.stringify(controller));
  console.log(typeof env.waitUntil, typeof ctx.waitUntil, typeof ctx.passThroughOnException, env.user);
"""
# The shapes that Workers have.
SHAPES = {
    "object": "export default { async scheduled(controller, env, ctx) {" + SHOW + "} };",
    "class": (
        'import { WorkerEntrypoint } from "cloudflare:workers";'
        "export default class extends WorkerEntrypoint {"
        "  async scheduled(controller) { const { env, ctx } = this; " + SHOW + "} }"
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_handler_gets_the_expression_as_written_and_its_due_time(harness: Harness, shape: str) -> None:
    route, result = await fired(harness, SHAPES[shape])

    record = await harness.record(route)
    assert (result.error, result.no_retry, result.invocation_id) == (None, False, record.id)
    assert (record.kind, record.outcome, record.status) == ("cron", Outcome.OK, 200)
    shown, types = messages(record)
    assert shown == f'{{"type":"scheduled","cron":"{CRON}","scheduledTime":1790000000000}}'
    assert types == "function function function null"


async def test_the_reply_waits_for_promises_and_for_those_that_they_add(harness: Harness) -> None:
    route, result = await fired(
        harness,
        """
        const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
        export default { scheduled(controller, env, ctx) {
          ctx.waitUntil(later(20).then(() => {
            console.log("first");
            env.waitUntil(later(20).then(() => console.log("second")));
          }));
        } };
        """,
    )

    assert result.error is None
    assert messages(await harness.record(route)) == ["first", "second"]


@pytest.mark.parametrize(
    ("body", "error", "no_retry"),
    [
        ("throw new Error('at once');", "Error: at once", False),
        ("controller.noRetry(); throw new RangeError('for good');", "RangeError: for good", True),
        ("const { noRetry } = controller; noRetry();", None, True),
        ("ctx.waitUntil(Promise.reject(new Error('left behind')));", "Error: left behind", False),
        ("ctx.waitUntil(Promise.reject(1)); throw new Error('first');", "1", False),
        ("ctx.waitUntil((async () => { controller.noRetry(); })());", None, True),
        ("throw undefined;", "undefined", False),
    ],
)
async def test_the_result_says_what_failed_and_whether_to_try_again(
    harness: Harness, body: str, error: str | None, no_retry: bool
) -> None:
    route, result = await fired(harness, f"export default {{ scheduled(controller, env, ctx) {{ {body} }} }};")

    record = await harness.record(route)
    assert (result.error, result.no_retry, result.invocation_id) == (error, no_retry, record.id)
    expected = (Outcome.OK, 200) if error is None else (Outcome.HANDLER_FAILED, 500)
    assert ((record.outcome, record.status), record.error) == (expected, error)


async def test_a_body_that_has_failed_fails_the_call_that_stands_for_an_event(harness: Harness) -> None:
    body = "new ReadableStream({ start(control) { control.error(new Error('db gone')); } })"
    route = harness.route(f"export default () => new Response({body});")

    result = await fire(harness.invoker, route, replace(FIRING, post={"trigger": "cron"}))

    assert result.error == (await harness.record(route)).error == "Error: db gone"


async def test_the_reply_waits_for_what_the_module_of_workers_is_given(harness: Harness) -> None:
    left = "waitUntil((async () => { await scheduler.wait(20); throw new Error('left behind'); })());"
    route, result = await fired(
        harness,
        f"import {{ waitUntil }} from 'cloudflare:workers'; export default {{ scheduled() {{ {left} }} }};",
    )
    assert (result.error, messages(await harness.record(route))) == (
        "Error: left behind",
        ["waitUntil: Error: left behind"],
    )


async def test_secrets_are_not_told_by_what_a_handler_throws(harness: Harness) -> None:
    route = harness.route("export default { scheduled(c, env) { throw new Error(`with ${env.TOKEN}`); } };")
    spec = harness.specs[route.release]
    harness.specs[route.release] = replace(spec, variables={"TOKEN": "a-secret-of-many-characters"})

    result = await fire(harness.invoker, route, FIRING)

    assert result.error is not None
    assert result.error.startswith("Error: with ")
    assert "a-secret-of-many-characters" not in result.error


async def test_a_handler_that_takes_too_long_is_ended_as_a_call_is(harness: Harness) -> None:
    route = harness.route(
        "export default { scheduled(c, env, ctx) { ctx.waitUntil(new Promise((end) => setTimeout(end, 60_000))); } };",
        timeout_ms=1000,
    )

    with pytest.raises(FunctionTimeout):
        await fire(harness.invoker, route, FIRING)

    assert (await harness.record(route)).outcome is Outcome.TIMEOUT


# Whatever the function makes of the wrapper: these take apart what the reply is made of.
TAMPERED = [
    "JSON.stringify = () => 'x'; Object.prototype.toJSON = () => 'y';",
    "Request.prototype.json = async () => ({ cron: {}, scheduled_time_ms: 'never' });",
    "Array.prototype.push = () => {}; Array.prototype[Symbol.iterator] = function* () {};",
    "Promise.prototype.then = function () { return this; };",
]


@pytest.mark.parametrize("change", TAMPERED)
async def test_a_function_that_takes_the_wrapper_apart_harms_itself_alone(harness: Harness, change: str) -> None:
    broken = harness.route(f"{change} export default {{ scheduled() {{}} }};", timeout_ms=2000)
    with_others = harness.route(SHAPES["object"])

    try:
        result = await asyncio.wait_for(fire(harness.invoker, broken, FIRING), 60)
    except FunctionTimeout:
        result = None

    assert result is None or isinstance(result.no_retry, bool)
    assert (await fire(harness.invoker, with_others, FIRING)).error is None


@pytest.mark.parametrize("end", ["", "throw new Error('broken');"])
@pytest.mark.parametrize(
    "told",
    [
        "undefined",
        "'text'",
        "[]",
        "{ outcome: 'ok' }",
        "{ outcome: 'ok', no_retry: 'yes' }",
        "{ outcome: 'ok', no_retry: false, more: 'x'.repeat(300_000) }",
        "{ message: 1, said: 2, stack: 3, no_retry: true }",
    ],
)
async def test_what_is_not_the_wrappers_reply_is_a_failure(harness: Harness, told: str, end: str) -> None:
    """The function shares an isolate with the wrapper, and decides here what the wrapper says."""
    told = f"Object.prototype.toJSON = Array.prototype.toJSON = () => ({told});"

    _, result = await fired(harness, f"export default {{ scheduled() {{ {told} {end} }} }};")

    assert result.error is not None
    assert "broken" not in result.error
    assert result.no_retry is False


async def test_an_event_without_a_handler_is_told_from_a_failure(harness: Harness) -> None:
    only_fetch = harness.route("export default () => new Response('ok');")
    only_scheduled = harness.route("export default { scheduled() {} };")

    with pytest.raises(NoHandler, match="no scheduled handler"):
        await fire(harness.invoker, only_fetch, FIRING)
    for method in (b"POST", b"HEAD"):
        with pytest.raises(NoHandler, match="This function has no HTTP handler"):
            await harness.call(only_scheduled, method=method)

    record = await harness.record(only_fetch)
    assert (record.outcome, record.status) == (Outcome.HANDLER_FAILED, 404)
    assert (await fire(harness.invoker, only_scheduled, FIRING)).error is None


async def test_the_wrapper_knows_each_event_of_the_host_and_reports_others(harness: Harness) -> None:
    route = harness.route("export default { fetch() { return new Response('called'); } };")
    instance = await acquire(harness.pool, harness.specs[route.release])

    for name in EventName:
        assert b"does not know" not in (await fetch(instance, event=Event(name=name)))[1]

    for unknown in ("nothing", "__proto__", "constructor", "default"):
        status, report = await fetch(instance, event=Named(text=unknown))
        assert (status, b"does not know" in report) == (500, True)
