"""Bad functions: what the caller gets, how soon, what the record says, and that the next call works."""

from __future__ import annotations

import re

import pytest
from msgspec import Struct

from tests.support.kapso import Kapso
from tests.support.limits import limited, record_of
from tests.support.server import Server
from tests.support.waiting import once_within

SHAPE = """export default { async fetch(request) {
    if (request.headers.get("x-good")) return new Response("good");
    console.log("it begins");
    %s
    return new Response("end");
} }"""
_TIMEOUT_MS = 1000
_CPU_MS = 300
_MEMORY_MB = 64
_OVER_CPU = rf"Function exceeded its CPU limit: it used \d+ ms of {_CPU_MS} ms without a pause"
_OVER_MEMORY = rf"Function exceeded its memory limit: it used \d+ MB of {_MEMORY_MB} MB"
_OVER_TIME = rf"Function execution timeout \({_TIMEOUT_MS}ms\)"


class Bad(Struct, frozen=True, kw_only=True):
    """`limit` is what the kill report names; None for an error that the runtime itself gives."""

    code: str
    detail: str
    outcome: str
    limit: str | None = None


def _cpu(code: str) -> Bad:
    return Bad(code=code, detail=_OVER_CPU, outcome="crashed", limit="cpu")


def _memory(code: str) -> Bad:
    return Bad(code=code, detail=_OVER_MEMORY, outcome="crashed", limit="memory")


def _thrown(code: str, detail: str) -> Bad:
    return Bad(code=code, detail=detail, outcome="handler_failed")


def _late(code: str) -> Bad:
    return Bad(code=code, detail=_OVER_TIME, outcome="timeout", limit="time")


BAD = {
    "busy loop": _cpu("while (true) {}"),
    "regular expression": _cpu("/^(a+)+$/.test('a'.repeat(50) + 'b');"),
    "endless console": _cpu("while (true) console.log('x'.repeat(1000));"),
    "promise that never settles": _thrown("await new Promise(() => {});", "promise can never settle"),
    "wait beyond the time": _late("await new Promise((done) => setTimeout(done, 60_000));"),
    "heap": _memory("const kept = []; while (true) kept.push({ text: 'x' + kept.length, more: [1, 2, 3] });"),
    "array buffers, slowly": _memory(
        "const kept = []; while (true) { kept.push(new Uint8Array(4 << 20).fill(1)); await scheduler.wait(1); }"
    ),
    "flat string": _memory("const kept = []; while (true) kept.push('x'.repeat(1 << 26).split('').join('y'));"),
    "string of 1 GB": _thrown("return new Response('x'.repeat(2 ** 30));", "Invalid string length"),
    "one big body": _memory("return new Response(new Uint8Array(300 << 20));"),
    "webassembly memory": _memory(
        "const memory = new WebAssembly.Memory({ initial: 1, maximum: 65_536 });"
        "while (true) { memory.grow(64); new Uint8Array(memory.buffer).fill(1); }"
    ),
    "thousands of timers": _thrown(
        "for (let i = 0; i < 50_000; i++) setTimeout(() => {}, 1e6);", "exceeded the number of active timeouts"
    ),
    "recursion": _thrown("const deep = () => deep() + 1; deep();", "Maximum call stack size exceeded"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_function_ends_in_time_and_says_why(server: Server, kapso: Kapso, name: str) -> None:
    bad = BAD[name]
    limits = {"timeout_ms": _TIMEOUT_MS, "cpu_ms": _CPU_MS, "memory_limit_mb": _MEMORY_MB}
    if bad.limit in ("cpu", "memory", None):
        # What ends by something else than its time.
        limits["timeout_ms"] = 200_000
    if bad.limit == "memory":
        limits["cpu_ms"] = 20_000
    function_id = limited(kapso, SHAPE % bad.code, **limits)
    # How long CPU time and memory take to be used depends on what else runs.
    reply = once_within(60.0 if bad.limit in ("cpu", "memory", None) else 5.0, lambda: kapso.invoke(function_id))
    assert reply.status_code == 500
    assert reply.json()["error"] == "Function execution failed"
    assert reply.json()["invocation_id"] == reply.headers["x-invocation-id"]
    assert re.search(bad.detail, reply.json()["detail"])
    record = record_of(server, reply)
    assert (record.outcome, record.error) == (bad.outcome, reply.json()["detail"])
    assert "it begins" in record.console
    assert (record.report["limit"] if record.report else None) == bad.limit
    if record.report:
        assert record.report["used"] >= record.report["allowed"] > 0
    assert kapso.invoke(function_id, headers={"x-good": "1"}).text == "good"


@pytest.mark.parametrize(
    "print_it",
    ["console.log('x'.repeat(1000));", "process.stdout.write('x'.repeat(1000) + '\\n');"],
    ids=["console", "process.stdout"],
)
def test_what_is_kept_of_endless_printing_is_bounded(server: Server, kapso: Kapso, print_it: str) -> None:
    code = f"import process from 'node:process';\n{SHAPE % f'while (true) {print_it}'}"
    # Nobody says how long a process that waits for its lines to be read takes to use its CPU time.
    function_id = limited(kapso, code, cpu_ms=_CPU_MS, timeout_ms=200_000)
    log_size = len(server.log)
    reply = kapso.invoke(function_id)
    assert re.search(_OVER_CPU, reply.json()["detail"])
    record = record_of(server, reply)
    # With one that says where the rest is missing.
    assert record.console.count("\n") <= 100 + record.console.endswith("\nnull\n")
    assert len(record.console) < 200_000
    assert len(server.log) - log_size < 10_000


def test_a_reply_of_hundreds_of_megabytes_streams_within_the_memory_limit(server: Server, kapso: Kapso) -> None:
    function_id = limited(
        kapso,
        """async function handler() {
            const block = new Uint8Array(1 << 20);
            let count = 0;
            return new Response(new ReadableStream({
                pull(controller) { if (count++ < 200) controller.enqueue(block); else controller.close(); },
            }));
        }""",
        memory_limit_mb=_MEMORY_MB,
    )
    size = 0
    with kapso.client.stream("POST", f"{kapso.base}/functions/{function_id}/invoke") as reply:
        for chunk in reply.iter_bytes():
            size += len(chunk)
    assert (reply.status_code, size) == (200, 200 << 20)
    assert record_of(server, reply).outcome == "ok"


def test_a_function_that_throws_at_load_is_not_deployed(kapso: Kapso) -> None:
    function = kapso.deploy(kapso.create("throw new Error('not today');\nasync function handler() {}")["id"])
    assert function["status"] == "error"
    assert "not today" in function["deploy_error"]["message"]
    assert function["deploy_error"]["line"] == 1
    reply = kapso.invoke(function["id"])
    assert (reply.status_code, "x-invocation-id" in reply.headers) == (422, False)
