"""What an instance prints, as the host reads it: nothing that the process says of itself is believed."""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from isolet.domain.invocations import ConsoleLine
from isolet.domain.redaction import Redactor
from isolet.domain.source_lines import with_mappings
from isolet.ids import InvocationId
from isolet.runtime.console import Console

# The same in every worker: they are in the names of tests.
CALL, OTHER = InvocationId("0197a3c0-5d1e-7000-8000-000000000001"), InvocationId("0197a3c0-5d1e-7000-8000-000000000002")
Line = tuple[InvocationId | None, ConsoleLine]


@pytest.fixture
def heard() -> list[Line]:
    return []


@pytest.fixture
async def console(heard: list[Line]) -> Console:
    return Console(
        Redactor(["s3cret-value"]),
        "",
        on_line=lambda call, line: heard.append((call, line)),
        on_own_line=lambda line: heard.append((None, line)),
    )


async def until(look: Callable[[], object], what: str) -> None:
    try:
        async with asyncio.timeout(10):
            while not look():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"{what} did not come") from None


def written(call: object, message: object, **members: Any) -> bytes:
    known = {"level": "log", "at_ms": time.time_ns() // 1_000_000, "stack": None}
    told = {**known, **members}
    return b"\x1e" + json.dumps([call, told["level"], told["at_ms"], message, told["stack"]]).encode()


async def wait_for(heard: list[Line], count: int) -> None:
    await until(lambda: len(heard) >= count, f"{count} lines")


async def test_a_line_counts_for_calls_that_run_here_or_did_lately(console: Console, heard: list[Line]) -> None:
    console.begin(CALL)
    console.read(written(CALL, "one"))
    console.read(written(OTHER, "payment failed"))
    console.end(CALL)
    console.read(written(CALL, "late"))
    await wait_for(heard, 2)
    assert [(call, line.message) for call, line in heard] == [(CALL, "one"), (CALL, "late")]


@pytest.mark.parametrize(
    "line",
    [
        b"\x1e",
        b"\x1e[]",
        b'\x1e["',
        b'\x1e["%b"' % CALL.encode(),
        b'\x1e["%b", "log", 1, ' % CALL.encode() + b"[" * 50_000,
        b'\x1e["%b", "log", 1, "text"]' % CALL.encode(),
        b'\x1e["%b", "log", 1, {"a": 1}, null]' % CALL.encode(),
        b'\x1e["%b", "log", 1, "\xff", null]' % CALL.encode(),
        b'\x1e["%b", "log", 1, "%b", null]' % (CALL.encode(), b"x" * 200_000),
        b"what a program prints",
    ],
)
async def test_what_is_no_line_is_passed_over(console: Console, heard: list[Line], line: bytes) -> None:
    console.begin(CALL)
    console.read(line)
    console.read(written(CALL, "end"))
    await wait_for(heard, 1)
    assert [line.message for _, line in heard] == ["end"]


async def test_levels_are_those_of_a_list_and_times_those_of_the_call(console: Console, heard: list[Line]) -> None:
    began = time.time_ns() // 1_000_000
    console.begin(CALL)
    for at_ms in (10**18, -(10**18), 10**400, 1.5, "soon", None, True, [1]):
        console.read(written(CALL, "x", level={"not": "one"}, at_ms=at_ms))
    console.read(b'\x1e["%b", "fatal", 1e999, "x", null]' % CALL.encode())
    await wait_for(heard, 9)
    now = time.time_ns() // 1_000_000
    assert {line.level for _, line in heard} == {"log"}
    assert all(began <= line.at_ms <= now for _, line in heard)


async def test_a_stack_that_is_printed_as_text_has_the_authors_places(heard: list[Line]) -> None:
    module = with_mappings("var helper;\nthrow 1;\n", ";AAEA", ["src/index.ts"])
    console = Console(
        Redactor([]), module, on_line=lambda call, line: heard.append((call, line)), on_own_line=lambda _: None
    )
    console.begin(CALL)
    console.read(written(CALL, "Error: no\n    at function.js:2:1\n    at async run (isolet/execution.js:9:3)"))
    await wait_for(heard, 1)
    assert heard[0][1].message == "Error: no\n    at src/index.ts:3:1"


async def test_lines_of_a_call_have_an_end(console: Console, heard: list[Line]) -> None:
    console.begin(CALL)
    for number in range(1_000):
        console.read(written(CALL, str(number)))
    await wait_for(heard, 101)
    console.end(CALL)
    console.read(written(CALL, "after"))
    console.begin(OTHER)
    console.read(written(OTHER, "other"))
    await wait_for(heard, 102)
    assert [line.message for _, line in heard[:100]] == [str(number) for number in range(100)]
    assert (heard[100][1].ends, heard[101][1].message) == (True, "other")


async def test_texts_are_cut_and_their_sum_is_bounded(console: Console, heard: list[Line]) -> None:
    console.begin(CALL)
    for _ in range(90):
        console.read(written(CALL, "x" * 60_000, stack="y" * 20_000))
    await until(lambda: any(line.ends for _, line in heard), "the end of what the call may print")
    lines = [line for _, line in heard if not line.ends]
    assert len(lines) < 40
    assert {(len(line.message), line.cut, len(line.stack or "")) for line in lines} == {(10_000, True, 10_000)}


async def test_lines_are_redacted_and_in_order_wherever_they_are_read(console: Console, heard: list[Line]) -> None:
    console.begin(CALL)
    for number in range(60):
        # Some that are read at once, some that are read in a thread.
        console.read(written(CALL, f"{number} s3cret-value" + "x" * (5_000 if number % 7 == 0 else 0)))
    await wait_for(heard, 60)
    assert [line.message.partition(" ")[0] for _, line in heard] == [str(number) for number in range(60)]
    assert all("s3cret" not in line.message and "[redacted]" in line.message for _, line in heard)


async def test_what_was_cut_in_a_value_loses_that_part(console: Console, heard: list[Line]) -> None:
    console.begin(CALL)
    text = "x" * 9_994
    console.read(written(CALL, f"{text}s3cret-value and more"))
    await wait_for(heard, 1)
    assert (heard[0][1].message, heard[0][1].cut) == (f"{text}[redacted]", True)


async def test_a_line_of_no_call_is_of_the_only_one_that_runs_or_of_the_function(
    console: Console, heard: list[Line]
) -> None:
    console.read(written("", "while loading"))
    console.begin(CALL)
    console.read(written("", "in a callback"))
    console.begin(OTHER)
    console.read(written("", "of one of two"))
    await wait_for(heard, 3)
    assert [(call, line.message) for call, line in heard] == [
        (None, "while loading"),
        (CALL, "in a callback"),
        (None, "of one of two"),
    ]


async def test_lines_of_no_call_are_bounded(console: Console, heard: list[Line]) -> None:
    for number in range(5_000):
        console.read(written("", str(number)))
    console.begin(CALL)
    console.read(written(CALL, "end"))
    await until(lambda: heard[-1:] and heard[-1][1].message == "end", "the last line")
    assert 100 <= len(heard) - 1 <= 200


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"x.rs:372: error: Uncaught exception: a/b.h:1456: failed: remote.jsg.Error: db gone\n", "Error: db gone"),
        (b"Uncaught exception: a/b.h:1: failed: jsg.TypeError: of s3cret-value\n", "TypeError: of [redacted]"),
        # The value goes on behind a line break of its own.
        (b"Uncaught exception: a/b.h:1: failed: jsg.Error: of s3cret-val\nue\n", "Error: of [redacted]"),
        (b"Uncaught exception: a/b.h:1: disconnected: of its own\n", None),
        (b"something else\n", None),
    ],
)
async def test_the_runtime_says_why_a_reply_broke_off(console: Console, said: bytes, told: str | None) -> None:
    for part in (said[:20], said[20:]):
        console.read_error(part)
    assert (console.take_broken(0), console.take_broken(0)) == (told, None)


def asked(call: object, *members: Any) -> bytes:
    return b"\x1f" + json.dumps([call, *members]).encode()


async def test_a_request_of_a_call_is_told_within_bounds(console: Console, heard: list[Any]) -> None:
    console.begin(CALL)
    now_ms = time.time_ns() // 1_000_000
    console.read(asked(CALL, 1, now_ms, "GET", "example.com", "/s3cret-value/\ud800"))
    console.read(asked(CALL, 1, now_ms + 3_600_000, 200))
    console.read(asked(OTHER, 1, now_ms, "GET", "example.com", "/"))
    console.read(asked(CALL, 2, now_ms, "P" * 500, "h" * 900, "/" * 900))
    await wait_for(heard, 3)
    (_, began), (_, ended), (_, long) = heard
    assert (began.method, began.host, began.path) == ("GET", "example.com", "/[redacted]/\ufffd")
    assert (ended.number, ended.method, ended.status) == (1, None, 200)
    assert ended.at_ms < now_ms + 60_000
    assert [len(text) for text in long[2:5]] == [20, 255, 512]


@pytest.mark.parametrize(
    "members",
    [
        [],
        [1],
        [0, 1, "GET", "host", "/"],
        [101, 1, "GET", "host", "/"],
        [True, 1, "GET", "host", "/"],
        ["1", 1, "GET", "host", "/"],
        [1, 1, "GET", "host", {"a": 1}],
        [1, 1, "GET", "host"],
        [1, 1, "GET", "host", "/" * 20_000],
    ],
)
async def test_what_is_no_request_is_passed_over(console: Console, heard: list[Any], members: list[Any]) -> None:
    console.begin(CALL)
    console.read(asked(CALL, *members))
    console.read(b"\x1f" + b'["%b",' % CALL.encode())
    console.read(written(CALL, "a line"))
    await wait_for(heard, 1)
    assert [said.message for _, said in heard] == ["a line"]


async def test_a_call_has_so_many_requests_and_its_lines_beside_them(console: Console, heard: list[Any]) -> None:
    console.begin(CALL)
    for _ in range(300):
        console.read(asked(CALL, 1, 1, "GET", "example.com", "/"))
    console.read(written(CALL, "a line"))
    await until(lambda: heard and isinstance(heard[-1][1], ConsoleLine), "the line")
    assert len(heard) == 201


async def test_thousands_of_lines_are_handed_over_in_several_turns_of_the_loop(
    console: Console, heard: list[Line]
) -> None:
    calls = [InvocationId(f"0197a3c0-5d1e-7000-8000-{number:012}") for number in range(50)]
    for call in calls:
        console.begin(call)
        for number in range(100):
            console.read(written(call, str(number)))
    most = before = 0
    async with asyncio.timeout(60):
        while len(heard) < 5_000:
            await asyncio.sleep(0)
            most, before = max(most, len(heard) - before), len(heard)
    assert most <= 1_000
    assert [(call, line.message) for call, line in heard] == [(c, str(n)) for c in calls for n in range(100)]


class Redacts(Redactor):
    """On which threads texts were redacted."""

    def __init__(self, values: list[str]) -> None:
        super().__init__(values)
        self.threads: list[int] = []

    def text(self, text: str, *, cut: bool = False) -> str:
        self.threads.append(threading.get_ident())
        return super().text(text, cut=cut)


STACK = "Error: oh\n    at handler (function.js:1:1)"
LARGE = "x" * 20_000
# Of values that begin with each other many are tried at one place.
NESTED = ["aaaa" + "b" * length for length in range(50)]


@pytest.mark.parametrize(
    ("values", "module", "message", "stack", "beside"),
    [
        (["s3cret-value"], "", "hi", None, False),
        (["s3cret-value"], "", "hi", STACK, False),
        (["s3cret-value"], LARGE, "hi", None, False),
        (["s3cret-value"], LARGE, "hi", STACK, True),
        (NESTED, "", "aaaac" * 300, None, True),
    ],
)
async def test_a_line_that_takes_long_to_read_is_read_beside_the_loop(
    heard: list[Line], values: list[str], module: str, message: str, stack: str | None, beside: bool
) -> None:
    redactor = Redacts(values)
    console = Console(
        redactor,
        module,
        on_line=lambda call, line: heard.append((call, line)),
        on_own_line=lambda line: heard.append((None, line)),
    )
    console.begin(CALL)
    console.read(written(CALL, message, stack=stack))
    await wait_for(heard, 1)
    assert [one != threading.get_ident() for one in redactor.threads] == [beside] * (1 if stack is None else 2)
