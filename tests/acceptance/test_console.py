"""What functions print and throw can be read afterwards, whatever it is."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from tests.support.butterbase import SharedButterbase
from tests.support.kapso import Kapso, SharedKapso
from tests.support.waiting import wait_until

AS_PRINTED = [
    ('"plain", 1, { a: [true, null] }', 'plain 1 {"a":[true,null]}'),
    ('{ a: { b: "it\'s" } }', '{"a":{"b":"it\'s"}}'),
    ("new Date(0), { at: new Date(0) }", '"1970-01-01T00:00:00.000Z" {"at":"1970-01-01T00:00:00.000Z"}'),
    ("[NaN, undefined, -Infinity]", "[ NaN, undefined, -Infinity ]"),
    ("{ a: undefined, b: () => {}, c: class Dog {} }", "{ a: undefined, b: [Function: b], c: [class Dog] }"),
    ('new Map([["k", { v: [1] }]])', "Map(1) { 'k' => { v: [ 1 ] } }"),
    ("new Set([1, 'b'])", "Set(2) { 1, 'b' }"),
    ('new Headers({ a: "b" })', "Headers { 'a' => 'b' }"),
    ("new Uint8Array([1, 2])", "Uint8Array(2) [ 1, 2 ]"),
    ("/a+/g, Symbol('s'), { n: 10n }", "/a+/g Symbol(s) { n: 10n }"),
    ("new (class Point { x = 1 })()", '{"x":1}'),
    ("(() => { const a = { b: {} }; a.b.a = a; return a; })()", "{ b: { a: [Circular] } }"),
    ('"%s of %d, %i, %f", "a", "3", 4.9, "1.5"', "a of 3, 4, 1.5"),
    ('"%j %o %O %% %c!", { a: 1 }, [2], { b: 3 }, "css"', '{"a":1} [2] {"b":3} % !'),
    ('"%s", { a: 1 }, "rest", 5', '{"a":1} rest 5'),
    ('"100%", "%s"', "100% %s"),
    ("{ get bad() { throw new Error('no') } }", "{ bad: [Getter: threw Error: no] }"),
    ("new Proxy({}, { ownKeys() { throw 1 } })", "[a value that cannot be shown]"),
    ("Object.create(null)", "{}"),
]


def choose(codes: Sequence[str]) -> str:
    """A function that runs the code whose number it is called with."""
    cases = " ".join(f"case {number}: {{ {code}; break; }}" for number, code in enumerate(codes))
    return (
        f"async function handler(request) {{ switch (await request.json()) {{ {cases} }} return new Response('ok'); }}"
    )


def line(api: Kapso, function_id: str, number: int) -> dict[str, Any]:
    """The one line that the code of that number prints."""
    assert api.invoke(function_id, number).text == "ok"
    (found,) = api.invocations(function_id)[0]["console_logs"]
    return dict(found)


def record(client: httpx.Client, reply: httpx.Response) -> dict[str, Any]:
    """The native record of a call."""
    return dict(client.get(f"/isolet/v1/invocations/{reply.headers['x-invocation-id']}").json())


def test_what_is_printed_can_be_read(common_platform: SharedKapso) -> None:
    code = ";".join(f"console.log({value})" for value, _ in AS_PRINTED)
    function_id = common_platform.deployed(f"async function handler() {{ {code}; return new Response('ok'); }}")
    assert common_platform.invoke(function_id).text == "ok"
    found = [printed["message"] for printed in common_platform.invocations(function_id)[0]["console_logs"]]
    assert found == [message for _, message in AS_PRINTED]


def test_errors_are_shown_with_what_is_inside(common_platform: SharedKapso) -> None:
    made = "const inner = new TypeError('inner boom'); "
    codes = (
        made + "console.error({ err: new Error('outer boom', { cause: inner }) })",
        made + "console.error(new AggregateError([inner, 'text'], 'all failed'))",
        "console.log(Object.assign(new Error('no row'), { code: 'PGRST116' }))",
    )
    function_id = common_platform.deployed(choose(codes))
    shown = line(common_platform, function_id, 0)
    assert "Error: outer boom" in shown["message"]
    assert "TypeError: inner boom" in shown["message"]
    shown = line(common_platform, function_id, 1)
    assert shown["message"].startswith("AggregateError: all failed")
    assert "TypeError: inner boom" in shown["message"]
    assert "'text'" in shown["message"]
    assert "TypeError: inner boom\n    at handler (function.js:1:" in shown["stack"]
    shown = line(common_platform, function_id, 2)
    assert shown["message"] == "Error: no row { code: 'PGRST116' }"


def test_every_method_of_the_console_prints(common_platform: SharedKapso) -> None:
    function_id = common_platform.deployed("""async function handler() {
      console.debug("debug"); console.trace("trace"); console.dir({ a: 1 }, { depth: 0 }); console.table([1]);
      console.assert(true, "no"); console.assert(false, "yes"); console.count(); console.count("n"); console.count();
      console.group("group"); console.log("inside"); console.groupEnd(); console.log("outside");
      console.time("t"); console.timeLog("t"); console.timeEnd("t"); console.timeEnd("t"); console.clear();
      return new Response("ok");
    }""")
    assert common_platform.invoke(function_id).text == "ok"
    lines = common_platform.invocations(function_id)[0]["console_logs"]
    messages = [found["message"] for found in lines]
    assert messages[:10] == [
        *("debug", "trace", '{"a":1}', "[1]", "Assertion failed: yes"),
        *("default: 1", "n: 1", "default: 2", "group", "  inside"),
    ]
    assert messages[10] == "outside"
    assert [message.partition(":")[0] for message in messages[11:]] == ["t", "t"]
    assert "function.js:2:" in lines[1]["stack"]


HOSTILE = [
    "'x'.repeat(20_000_000)",
    "['x'.repeat(10_000_000), { deep: 'y'.repeat(10_000_000) }]",
    "(() => { let a = []; for (let i = 0; i < 100_000; i++) a = [a]; return a; })()",
    "new Array(1_000_000).fill(1)",
    "new Map(Array.from({ length: 20_000 }, (_, i) => [i, { i }]))",
    "Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => ['key' + i, i]))",
    "{ get a() { return this.b }, get b() { return { ...this } } }",
    "(() => { const e = new Error('loop'); e.cause = e; e.errors = [e, e]; return e; })()",
    "Object.assign(new Error('x'.repeat(10_000_000)), { stack: 5 })",
    "new Proxy(function () {}, { get() { throw 1 }, getOwnPropertyDescriptor() { throw 2 } })",
    "{ toString() { throw 1 }, toJSON() { return this } }",
    "{ [Symbol.toPrimitive]() { throw 1 } }, '%s %d'",
    "'%d %s', { valueOf() { throw 1 } }, { toString() { throw 2 } }",
    "Object.defineProperty(new Error(), 'message', { get() { throw new Error('in message') } })",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_values_cost_little_and_break_nothing(common_platform: SharedKapso, value: str) -> None:
    code = choose([f"console.error({hostile})" for hostile in HOSTILE])
    function_id = common_platform.deployed(code, runtime_config={"memory": 512, "cpu_ms": 20_000})
    found = line(common_platform, function_id, HOSTILE.index(value))
    assert 0 < len(found["message"]) <= 10_000


def test_what_is_cut_is_marked(common_platform: SharedKapso) -> None:
    function_id = common_platform.deployed(
        "async function handler(request) { const { lines } = await request.json(); "
        "for (let i = 0; i < lines; i++) console.log('x'.repeat(i ? 5 : 10_001)); return new Response('ok'); }"
    )
    for lines, more in ((100, False), (101, True), (5_000, True)):
        reply = common_platform.invoke(function_id, {"lines": lines})
        told = record(common_platform.client, reply)
        assert (len(told["console"]), told["console_truncated"]) == (100, more), lines
        assert [found["truncated"] for found in told["console"]] == [True, *[False] * 99]
    (shown, *_, last) = common_platform.invocations(function_id)
    assert (shown["console_truncated"], "console_truncated" in last) == (True, False)
    assert shown["console_logs"][0]["truncated"] is True


FORGED = """
import { AsyncLocalStorage } from "node:async_hooks";
export default { async fetch(request) {
  const { id } = await request.json();
  const own = AsyncLocalStorage.prototype.getStore;
  AsyncLocalStorage.prototype.getStore = function () { return { id, lines: 0 }; };
  const now = Date.now;
  Date.now = () => 1e18;
  console.log("payment of another tenant failed");
  AsyncLocalStorage.prototype.getStore = own;
  Date.now = now;
  return new Response("ok");
} }
"""


def test_a_function_prints_nothing_into_the_calls_of_others(common_platform: SharedKapso) -> None:
    victim = common_platform.deployed("async function handler() { console.log('mine'); return new Response('ok'); }")
    forger = common_platform.deployed(FORGED, "Forger")
    seen = common_platform.invoke(victim)
    reply = common_platform.invoke(forger, {"id": seen.headers["x-invocation-id"]})
    assert reply.text == "ok"
    assert [found["message"] for found in record(common_platform.client, seen)["console"]] == ["mine"]
    # Of a call of its own it may say what it likes, but not when it was.
    again = common_platform.invoke(forger, {"id": reply.headers["x-invocation-id"]})
    assert again.text == "ok"

    def late() -> list[dict[str, Any]]:
        return list(record(common_platform.client, reply)["console"])

    (forged,) = wait_until(late, what="the late line")
    assert forged["at"].startswith("20")
    assert common_platform.invocations(forger)


STREAMS = """
const encode = (text) => new TextEncoder().encode(text);
const cases = {
  once(c) { console.log("seen"); c.enqueue(encode("x")); c.close(); },
  generator() {
    async function* parts() { console.log("seen"); yield encode("x"); }
    return new Response(ReadableStream.from(parts()));
  },
  bytes() {
    return new Response(new ReadableStream({ type: "bytes", pull: cases.once }));
  },
  pull() {
    return new Response(new ReadableStream({ pull: cases.once }));
  },
  async listener() {
    AbortSignal.timeout(20).addEventListener("abort", () => console.log("seen"));
    await scheduler.wait(100);
    return new Response("x");
  },
};
export default { fetch(request) { return cases[new URL(request.url).searchParams.get("case")](); } };
"""


@pytest.mark.parametrize("case", ["generator", "bytes", "pull", "listener"])
def test_lines_of_callbacks_are_of_their_call(shared: SharedButterbase, case: str) -> None:
    shared.deploy("stream", STREAMS)
    reply = shared.call("stream", params={"case": case})
    assert reply.text == "x"
    assert [found["message"] for found in record(shared.client, reply)["console"]] == ["seen"]


def test_lines_of_no_call_are_the_functions(shared: SharedButterbase) -> None:
    code = "console.log('as it loads'); export default { fetch() { return new Response('x'); } };"
    shared.deploy("loads", code)
    shared.call("loads")
    function_id = shared.get("loads")["id"]

    def lines() -> list[dict[str, Any]]:
        return list(shared.client.get(f"/isolet/v1/functions/{function_id}/logs").json()["data"])

    found = wait_until(lines, what="the line")
    assert {(one["message"], one["level"], one["stack"]) for one in found} == {("as it loads", "log", None)}


def test_lines_of_no_call_are_nobody_elses(shared: SharedButterbase, root: httpx.Client) -> None:
    shared.deploy("quiet", "export default { fetch() { return new Response('x'); } };")
    path = f"/isolet/v1/functions/{shared.get('quiet')['id']}/logs"
    assert shared.public.get(path).status_code == 401
    slug = "texts-other"
    assert root.post("/isolet/v1/projects", json={"slug": slug}).status_code == 201
    key = root.post(f"/isolet/v1/projects/{slug}/keys", json={"name": "k", "role": "admin"}).json()["key"]
    assert shared.public.get(path, headers={"X-API-Key": key}).status_code == 404
    assert root.delete(f"/isolet/v1/projects/{slug}").status_code == 204


BROKEN = """
const encode = (text) => new TextEncoder().encode(text);
const cases = {
  error(i = 0) {
    const pull = (c) => (i++ < 3 ? c.enqueue(encode("part")) : c.error(new Error("db gone")));
    return new ReadableStream({ pull });
  },
  thrown(i = 0) {
    const fail = () => { throw new TypeError("pull failed"); };
    return new ReadableStream({ pull: (c) => (i++ < 3 ? c.enqueue(encode("part")) : fail()) });
  },
  generator() {
    async function* parts() { yield encode("part"); throw new RangeError("generator failed"); }
    return ReadableStream.from(parts());
  },
  transform() {
    return cases.error().pipeThrough(new TransformStream({ transform() { throw new Error("transform failed"); } }));
  },
  piped() { return cases.error().pipeThrough(new TransformStream()); },
  secret(env) {
    return new ReadableStream({ pull(c) { c.error(new Error(`no ${env.TOKEN}`)); } });
  },
};
export default { fetch(request, env) {
  const name = new URL(request.url).searchParams.get("case");
  return new Response(cases[name](name === "secret" ? env : undefined));
} };
"""


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("error", "Error: db gone"),
        ("thrown", "TypeError: pull failed"),
        ("generator", "RangeError: generator failed"),
        ("transform", "Error: transform failed"),
        ("piped", "Error: db gone"),
        ("secret", "Error: no [redacted]"),
    ],
)
def test_a_stream_that_fails_says_why(shared: SharedButterbase, case: str, said: str) -> None:
    shared.deploy("broken", BROKEN, envVars={"TOKEN": "s3cret-value"})
    before = {call["id"] for call in shared.logs("broken")}
    # It may break off after its head.
    with contextlib.suppress(httpx.RemoteProtocolError):
        shared.call("broken", params={"case": case})

    def failed() -> list[dict[str, Any]]:
        return [call for call in shared.logs("broken") if call["error"] and call["id"] not in before]

    (call,) = wait_until(failed, what="the record")
    assert call["error"] == f"The function broke its reply off before it was complete: {said}"


def test_a_reason_is_that_of_its_own_call(shared: SharedButterbase) -> None:
    """The runtime tells of a call that can never be answered, too."""
    stream = "new ReadableStream({ start(control) { control.error(new Error('db gone')); } })"
    code = f"export default (r) => (r.method === 'PUT' ? new Promise(() => {{}}) : new Response({stream}));"
    shared.deploy("reasons", code)
    assert "never produced a response" in shared.call("reasons", "PUT").json()["error"]
    assert shared.call("reasons").json()["error"].endswith(": Error: db gone")


THROWN = [
    ('{ code: "PGRST116", message: "row not found" }', '{"code":"PGRST116","message":"row not found"}'),
    ("{ code: 5 }", '{"code":5}'),
    ('"text"', "text"),
    ("null", "null"),
    ("undefined", "undefined"),
    ("[1, { a: 2 }]", '[1,{"a":2}]'),
    ("new Error('outer', { cause: new TypeError('inner') })", "Error: outer; caused by: TypeError: inner"),
    ("new Error('outer', { cause: { code: 7 } })", 'Error: outer; caused by: {"code":7}'),
    (
        "new AggregateError([new Error('one'), 'two'], 'all')",
        "AggregateError: all; error 1: Error: one; error 2: two",
    ),
    ("Object.assign(Object.create(null), { a: 1 })", '{"a":1}'),
    ("(() => { const e = new Error('loop'); e.cause = e; return e; })()", "Error: loop"),
    ("{ get message() { throw 1 } }", "{ message: [Getter: threw number] }"),
    ('""', "the handler threw an empty text"),
    (
        "new SuppressedError(new Error('at its end'), new Error('first'), 'both')",
        "SuppressedError: both; error: Error: at its end; suppressed: Error: first",
    ),
    ("Object.assign(new Error(''), { name: '' })", "[a value that cannot be shown]"),
]


@pytest.mark.parametrize(("thrown", "message"), THROWN)
def test_whatever_is_thrown_is_told(common_platform: SharedKapso, thrown: str, message: str) -> None:
    function_id = common_platform.deployed(choose([f"throw {value}" for value, _ in THROWN]))
    reply = common_platform.invoke(function_id, THROWN.index((thrown, message)))
    assert (reply.status_code, reply.json()["detail"]) == (500, message)
    assert record(common_platform.client, reply)["error"] == message
    assert common_platform.invocations(function_id)[0]["error_message"] == message


def test_what_a_call_by_head_throws_is_told(shared: SharedButterbase) -> None:
    """Its reply has no body."""
    text = "'caf\u00e9 \\u65e5 \\ud800 ' + 'y'.repeat(300)"
    shared.deploy("head", f"export default () => {{ throw new TypeError({text}); }};")
    reply = shared.call("head", "HEAD")
    assert (reply.status_code, reply.content) == (500, b"")
    found = record(shared.client, reply)
    assert (found["outcome"], found["error"]) == ("handler_failed", "TypeError: caf\u00e9 \u65e5 \ufffd " + "y" * 300)
    assert "\n    at " in found["stack"]
    assert "function.js:1:" in found["stack"]


def test_the_stack_of_an_error_names_the_authors_lines(common_platform: SharedKapso) -> None:
    code = "function inner() {\n  throw new TypeError('in');\n}\nasync function handler() {\n"
    code += "  try { inner(); } catch (cause) {\n    throw new Error('out', { cause });\n  }\n}"
    function_id = common_platform.deployed(code)
    reply = common_platform.invoke(function_id)
    for stack in (record(common_platform.client, reply)["stack"], common_platform.invocations(function_id)[0]["stack"]):
        assert stack.startswith("Error: out\n    at handler (function.js:6:11)")
        assert "caused by: TypeError: in\n    at inner (function.js:2:9)" in stack
        assert "isolet/" not in stack


def test_butterbase_tells_the_message_alone(shared: SharedButterbase) -> None:
    shared.deploy("throws", "export default () => {\n  throw new TypeError('no user');\n}")
    reply = shared.call("throws", headers={"X-API-Key": shared.key})
    assert (reply.status_code, reply.json()["error"]) == (500, "no user")
    assert reply.json()["stack"].startswith("TypeError: no user\n    at")
    assert shared.logs("throws")[0]["error"] == "TypeError: no user"


def test_variables_are_where_libraries_look_for_them(shared: SharedButterbase) -> None:
    code = (
        'import { env } from "cloudflare:workers"; import process from "node:process"; const early = process.env.X_Y;'
    )
    code += "export default { fetch(r, e) { return Response.json("
    code += "[e.X_Y, process.env.X_Y, env.X_Y, early, process.env.BUTTERBASE_APP_ID, process.env.user, e.user]) } }"
    shared.deploy("vars", code, envVars={"X_Y": "value of x", "lower.case": "too", "user": "me"})
    assert shared.call("vars").json() == ["value of x"] * 4 + [shared.app, "me", None]


def test_other_dialects_know_nothing_of_the_platforms_variables(common_platform: SharedKapso) -> None:
    code = 'import process from "node:process"; import { env as all } from "cloudflare:workers";'
    code += "export default { fetch(r, env) { return Response.json("
    code += "[...Object.keys(env), ...Object.keys(env.env), ...Object.keys(process.env), ...Object.keys(all)]) } }"
    function_id = common_platform.deployed(code)
    assert [name for name in common_platform.invoke(function_id).json() if "BUTTERBASE" in name] == []


ODD = [
    "a\\ud800b",
    "nul \\u0000 here",
    "\\u0007\\u001b[31m\\u2028\\u0085",
    "\u05e9\u05dc\u05d5\u05dd \u65e5\u672c \U0001f600",
    "x' + 'y'.repeat(100_000) + '",
]


@pytest.mark.parametrize("text", ODD, ids=["surrogate", "nul", "controls", "alphabets", "large"])
def test_odd_text_is_recorded_wherever_it_stands(shared: SharedButterbase, text: str) -> None:
    texts = ", ".join(f"'{odd}'" for odd in ODD)
    code = f"""const texts = [{texts}];
    export default (request) => {{
      const text = texts[new URL(request.url).searchParams.get("text")];
      console.log(text); console.error(new Error(text));
      const error = new Error(text); error.name = text; error.stack = `S ${{text}}\\n    at f (${{text}}:1:1)`;
      throw error;
    }}"""
    shared.deploy("odd", code)
    params = {"text": ODD.index(text), "q": "\U0001f600 \x07"}
    reply = shared.call("odd", params=params, headers={"x-odd": "caf\xe9".encode()})
    assert reply.status_code == 500
    found = record(shared.client, reply)
    assert (found["outcome"], len(found["console"])) == ("handler_failed", 2)
    assert json.dumps(found)
    assert shared.logs("odd")[0]["error"]
