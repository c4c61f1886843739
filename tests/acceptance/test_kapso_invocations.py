"""Records of calls in the Kapso API. The numbers are the items of part 7 of the wire facts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from tests.support.kapso import Kapso, SharedKapso, error_of
from tests.support.waiting import wait_until

HELLO = 'async function handler() { return new Response("hello"); }'
BY_STATUS = """
async function handler(request) {
  const { status } = await request.json();
  if (status === 0) throw new Error("thrown");
  return new Response(status === 204 ? null : "x", { status });
}
"""


def logs_of(api: Kapso, body: str, number: int = 0, *, lines: int = 1) -> list[dict[str, str]]:
    """What one call of a function with that body printed, once so many lines are there. It may look at the `number`."""
    code = f"async function handler(request) {{ const number = await request.json(); {body}; return new Response(); }}"
    function_id = api.deployed(code)
    assert api.invoke(function_id, number).status_code == 200

    def printed() -> list[dict[str, str]] | None:
        # The last lines of many may be read after the reply.
        logs = list(api.invocations(function_id)[0]["console_logs"])
        return logs if len(logs) >= lines else None

    return wait_until(printed) or []


def test_the_list_names_its_function_and_counts_what_it_returns(common: SharedKapso) -> None:
    """Item 72."""
    function_id = common.deployed(HELLO, name="Counted", description=common.base)
    ids = [common.invoke(function_id, {}).headers["x-invocation-id"] for _ in range(3)]

    data = common.client.get(f"{common.base}/functions/{function_id}/invocations").json()["data"]

    assert (data["function_id"], data["function_name"], data["total"]) == (function_id, "Counted", 3)
    assert [item["id"] for item in data["invocations"]] == ids[::-1]


@pytest.fixture(scope="module")
def often_called(common_platform: SharedKapso) -> tuple[str, list[str]]:
    """A function, and the ids of 22 calls of it."""
    function_id = common_platform.deployed(HELLO, "Often called")
    return function_id, [common_platform.invoke(function_id, {}).headers["x-invocation-id"] for _ in range(22)]


@pytest.mark.parametrize(("query", "total"), [({}, 10), ({"limit": 3}, 3), ({"limit": 20}, 20), ({"limit": 500}, 20)])
def test_ten_are_shown_by_default_and_twenty_at_most(
    common_platform: SharedKapso, often_called: tuple[str, list[str]], query: dict[str, int], total: int
) -> None:
    """Item 73."""
    function_id, ids = often_called

    data = common_platform.client.get(f"/platform/v1/functions/{function_id}/invocations", params=query).json()["data"]

    assert data["total"] == total
    assert [item["id"] for item in data["invocations"]] == ids[: -total - 1 : -1]


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=x", "limit=1.5", "limit=", "status=ok", "status="])
def test_an_unusable_query_is_422(common: SharedKapso, query: str) -> None:
    """Items 73, 74."""
    reply = common.client.get(f"{common.base}/functions/{common.create(HELLO)['id']}/invocations?{query}")

    assert reply.status_code == 422
    assert query.partition("=")[0] in error_of(reply)


def test_status_keeps_the_successful_or_the_rest(common: SharedKapso) -> None:
    """Items 74, 79."""
    function_id = common.deployed(BY_STATUS, f"By status on {common.base}")
    for status in (200, 204, 299, 302, 404, 500, 0):
        common.invoke(function_id, {"status": status})

    good, failed = common.invocations(function_id, status="success"), common.invocations(function_id, status="failed")

    assert [item["status_code"] for item in good] == [299, 204, 200]
    assert [item["status_code"] for item in failed] == [500, 500, 404, 302]
    assert [item["error_message"] for item in failed] == ["Error: thrown", None, None, None]


def test_an_item_has_every_member(common: SharedKapso) -> None:
    """Item 75."""
    function_id = common.deployed(
        "async function handler() { return Response.json({ out: [1] }, { status: 201 }); }", f"On {common.base}"
    )
    reply = common.invoke(function_id, {"in": "ä"})

    (item,) = common.invocations(function_id)

    duration, created = item.pop("duration_ms"), item.pop("created_at")
    assert item == {
        "id": reply.headers["x-invocation-id"],
        "status_code": 201,
        "request_body": {"in": "ä"},
        "response_body": {"out": [1]},
        "error_message": None,
        "console_logs": [],
    }
    assert isinstance(duration, int)
    assert 0 <= duration < 30_000
    assert datetime.fromisoformat(created).tzinfo is not None


def test_bodies_that_are_empty_or_text_are_shown_as_such(common: SharedKapso) -> None:
    """Item 75."""
    function_id = common.deployed(
        'async function handler(request) { return new Response(await request.text() && "plain"); }', f"On {common.base}"
    )
    common.invoke(function_id, {})
    common.invoke(function_id)

    shown = [(item["request_body"], item["response_body"]) for item in common.invocations(function_id)]

    assert shown == [(None, None), ({}, "plain")]


def test_bodies_are_cut_at_16_kib_in_the_record_only(common: SharedKapso) -> None:
    """The limits of the domain."""
    function_id = common.deployed(
        "async function handler(request) { return new Response(await request.text()); }", f"On {common.base}"
    )
    text = '"' + "x" * 40_000 + '"'

    reply = common.client.post(f"{common.base}/functions/{function_id}/invoke", content=text)

    (item,) = common.invocations(function_id)
    assert reply.text == text
    assert item["request_body"] == item["response_body"] == text[:16_384]


def test_console_lines_have_level_message_and_time(common: SharedKapso) -> None:
    """Items 76, 77."""
    logs = logs_of(
        common,
        'console.log("one", 1, { a: [true] }); console.info("two"); console.warn("three"); '
        'console.error("four"); console.debug("five")',
        lines=5,
    )

    assert [(line["level"], line["message"]) for line in logs] == [
        ("info", 'one 1 {"a":[true]}'),
        ("info", "two"),
        ("warn", "three"),
        ("error", "four"),
        ("debug", "five"),
    ]
    times = [datetime.fromisoformat(line["logged_at"]) for line in logs]
    assert times == sorted(times)
    assert all(line.keys() == {"level", "message", "logged_at"} for line in logs)


def test_an_error_that_is_printed_has_a_stack_of_the_authors_lines(common: SharedKapso) -> None:
    """Item 76."""
    function_id = common.deployed(
        'function deep() {\n  return new RangeError("too deep");\n}\n'
        'async function handler() {\n  console.error("failed:", deep());\n  return new Response();\n}'
    )
    common.invoke(function_id, {})

    (line,) = common.invocations(function_id)[0]["console_logs"]

    assert (line["level"], line["message"]) == ("error", "failed: RangeError: too deep")
    assert "function.js:2:" in line["stack"]
    assert "isolet/" not in line["stack"]


PRINTED = [
    ("undefined", "undefined"),
    ("null", "null"),
    ("10n", "10"),
    ('Symbol("s")', "Symbol(s)"),
    ("(() => { const a = {}; a.a = a; return a; })()", "{ a: [Circular] }"),
    ("(() => { const a = Object.create(null); a.a = a; return a; })()", "{ a: [Circular] }"),
    ("({ toJSON() { throw 1; }, toString() { throw 2; } })", "[a value that cannot be shown]"),
    ("new Proxy({}, { getPrototypeOf() { throw 1; } })", "{}"),
    ('"\\n\\u001e\\u2028ä🎈"', "\n\x1e\u2028ä🎈"),
]


@pytest.mark.parametrize(("value", "message"), PRINTED)
def test_whatever_is_printed_is_one_line(common_platform: SharedKapso, value: str, message: str) -> None:
    """Item 77."""
    cases = " ".join(f"case {number}: console.log({printed}); break;" for number, (printed, _) in enumerate(PRINTED))
    logs = logs_of(common_platform, f"switch (number) {{ {cases} }}", PRINTED.index((value, message)))
    assert [line["message"] for line in logs] == [message]


def test_a_call_may_print_100_lines_of_10_000_characters(common: SharedKapso) -> None:
    """The limits of the domain."""
    logs = logs_of(common, 'for (let i = 0; i < 150; i++) console.log(i + "x".repeat(20_000))', lines=100)

    assert len(logs) == 100
    assert [line["message"] for line in logs] == [(str(number) + "x" * 20_000)[:10_000] for number in range(100)]


def test_lines_of_calls_that_overlap_stay_apart(common_platform: SharedKapso) -> None:
    """Item 77."""
    code = """async function handler(request) {
      const { n } = await request.json();
      const parts = [];
      for (let i = 0; i < 5; i++) { console.log(`${n}.${i}`); await scheduler.wait(5); }
      return Response.json(n);
    }"""
    function_id = common_platform.deployed(code)
    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(lambda n: common_platform.invoke(function_id, {"n": n}), range(8)))

    printed = {
        item["id"]: [line["message"] for line in item["console_logs"]]
        for item in common_platform.invocations(function_id)
    }
    assert printed == {
        reply.headers["x-invocation-id"]: [f"{number}.{step}" for step in range(5)]
        for number, reply in enumerate(replies)
    }


def test_stored_error_text_has_512_characters_at_most(common: SharedKapso) -> None:
    """Item 78."""
    function_id = common.deployed('function handler() { throw new Error("é".repeat(600)); }', f"On {common.base}")

    reply = common.invoke(function_id, {})

    assert (reply.status_code, reply.json()["detail"][:10]) == (500, "Error: ééé")
    (item,) = common.invocations(function_id)
    assert item["error_message"] == ("Error: " + "é" * 600)[:512]


def test_a_function_that_was_never_called_has_an_empty_list(common: SharedKapso) -> None:
    """Item 80."""
    function_id = common.create(HELLO, name="Idle")["id"]

    reply = common.client.get(f"{common.base}/functions/{function_id}/invocations")

    assert reply.status_code == 200
    assert reply.json() == {
        "data": {"function_id": function_id, "function_name": "Idle", "invocations": [], "total": 0}
    }
