"""Calls through the Kapso API. The numbers are the items of part 7 of the wire facts."""

from __future__ import annotations

import json
import uuid

import httpx
import pytest

from tests.support.kapso import Kapso, SharedKapso
from tests.support.projects import Project
from tests.support.server import ROOT_KEY

HELLO = 'async function handler() { return new Response("hello"); }'
ECHO_TEXT = "async function handler(request) { return new Response(await request.text()); }"
ECHO_JSON = "async function handler(request) { return Response.json(await request.json()); }"
SHOW = """
async function handler(request) {
  return Response.json({ method: request.method, url: request.url, headers: [...request.headers] });
}
"""
NOT_FOUND = {"error": "Function not found"}


def give(body: str, **init: object) -> str:
    """A function that answers with `body`, which is JavaScript, and the Response's `init`."""
    return f"async function handler() {{ return new Response({body}, {json.dumps(init)}); }}"


def choose(*bodies: str) -> str:
    """A function that runs the body whose number it is called with."""
    cases = "\n".join(f"case {number}: {{ {body} }}" for number, body in enumerate(bodies))
    return f"async function handler(request) {{ switch (await request.json()) {{ {cases} }} }}"


def seen_headers(reply: httpx.Response) -> dict[str, str]:
    assert reply.status_code == 200, reply.text
    return dict(reply.json()["headers"])


def test_a_private_function_runs_with_a_good_key(common: SharedKapso, common_home: Project) -> None:
    """Items 42, 58."""
    function_id = common.deployed(HELLO)

    replies = [
        common.client.post(
            f"{common.base}/functions/{function_id}/invoke", json={}, headers={"X-API-Key": common_home.key(role)}
        )
        for role in ("invoke", "deploy", "admin")
    ]

    assert [(reply.status_code, reply.text) for reply in replies] == [(200, "hello")] * 3


def test_the_root_key_may_call_every_function(common: SharedKapso, root: httpx.Client) -> None:
    function_id = common.deployed(HELLO)

    assert Kapso(root, common.base).invoke(function_id, {}).text == "hello"


@pytest.mark.parametrize("key", ["", "isk_wrong", "stranger"])
def test_a_private_function_is_unknown_without_a_good_key(
    common_platform: SharedKapso, stranger: Project, key: str
) -> None:
    """Item 43."""
    function_id = common_platform.deployed(HELLO, "Private")
    headers = {"X-API-Key": stranger.key() if key == "stranger" else key}

    private, unknown = (common_platform.invoke(name, {}, headers=headers) for name in (function_id, str(uuid.uuid4())))

    assert (private.status_code, private.json()) == (404, NOT_FOUND)
    assert (unknown.status_code, unknown.content) == (404, private.content)
    assert "x-invocation-id" not in private.headers
    assert common_platform.invocations(function_id) == []


@pytest.mark.parametrize("key", ["", "isk_wrong"])
def test_the_older_base_answers_401_without_a_good_key(common_older: SharedKapso, key: str) -> None:
    """The design's section 7."""
    function_id = common_older.deployed(HELLO)

    replies = [common_older.invoke(name, {}, headers={"X-API-Key": key}) for name in (function_id, str(uuid.uuid4()))]

    assert [reply.status_code for reply in replies] == [401, 401]
    assert replies[0].content == replies[1].content
    assert isinstance(replies[0].json()["error"], str)


def test_a_public_function_runs_without_a_key(
    common_platform: SharedKapso, anonymous: httpx.Client, stranger: Project
) -> None:
    """Item 44."""
    function_id = common_platform.deployed(HELLO, public_endpoint=True)

    for client in (anonymous, stranger.client):
        assert Kapso(client).invoke(function_id, {}).text == "hello"
    assert Kapso(anonymous).invoke(function_id, {}, headers={"X-API-Key": "isk_wrong"}).text == "hello"


def test_publishing_and_hiding_count_from_the_next_call(platform: Kapso, anonymous: httpx.Client) -> None:
    """Items 43, 44."""
    function_id = platform.deployed(HELLO)
    path = f"/platform/v1/functions/{function_id}"
    statuses = []
    for public in (True, False):
        platform.client.patch(path, json={"function": {"public_endpoint": public}})
        statuses.append(Kapso(anonymous).invoke(function_id, {}).status_code)

    assert statuses == [200, 404]


def test_a_function_that_is_not_deployed_is_422(common: SharedKapso) -> None:
    """Item 45."""
    draft = common.create(HELLO)["id"]
    failed = common.deploy(common.create("async function handler( {}")["id"])["id"]

    replies = [common.invoke(function_id, {}) for function_id in (draft, failed)]

    assert [(reply.status_code, reply.json()) for reply in replies] == [
        (422, {"error": "Function is not deployed"})
    ] * 2
    assert not any("x-invocation-id" in reply.headers for reply in replies)
    assert common.invocations(draft) == common.invocations(failed) == []


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_only_post_calls_a_function(common: SharedKapso, method: str) -> None:
    function_id = common.deployed(HELLO, "Only post")

    reply = common.client.request(method, f"{common.base}/functions/{function_id}/invoke")

    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
    assert common.invocations(function_id) == []


@pytest.mark.parametrize(
    "body",
    [b"{", b"{'a': 1}", b"hello", b"[1,]", b"NaN", b'{"a": Infinity}', b"\xff\xfe", b'"\xe4"', b"{} {}", b"\x00", b" "],
)
def test_a_body_that_is_not_json_is_400_and_does_not_run(common: SharedKapso, body: bytes) -> None:
    """Item 46."""
    function_id = common.deployed(ECHO_TEXT, "Not called")

    reply = common.client.post(f"{common.base}/functions/{function_id}/invoke", content=body)

    assert (reply.status_code, reply.json()) == (400, {"error": "Invalid JSON in request"})
    assert common.invocations(function_id) == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1, "b": [true, null, "\xc3\xa4\\u00e4"], "a": 2}',
        b" [1, 2.50, -0, 1e400] \n",
        b'"text"',
        b"0",
        b"false",
        b"null",
        b"123456789012345678901234567890",
        b"1" * 5000,
        b'{"cut": "\\ud83d"}',
        b"[" * 500 + b"]" * 500,
    ],
)
def test_a_json_body_arrives_byte_for_byte(common: SharedKapso, body: bytes) -> None:
    """Item 47."""
    reply = common.client.post(f"{common.base}/functions/{common.deployed(ECHO_TEXT)}/invoke", content=body)

    assert (reply.status_code, reply.content) == (200, body)


def test_a_json_body_is_parsed_by_request_json(common: SharedKapso) -> None:
    """Item 47."""
    body = {"text": "ä\u2028🎈", "numbers": [0, -1.5, 1e21], "none": None, "nested": {"": []}}

    assert common.invoke(common.deployed(ECHO_JSON), body).json() == body


def test_an_empty_body_is_passed_on(common: SharedKapso) -> None:
    """The design's section 9."""
    code = "async function handler(request) { return Response.json((await request.text()).length); }"

    reply = common.invoke(common.deployed(code))

    assert (reply.status_code, reply.json()) == (200, 0)


@pytest.mark.parametrize("status", [200, 201, 202, 203, 206, 299])
def test_passthrough_keeps_status_type_and_bytes(common: SharedKapso, status: int) -> None:
    """Item 48."""
    code = """async function handler(request) {
      const init = { status: await request.json(), headers: { "content-type": "image/x-own; q=1" } };
      return new Response(new Uint8Array([0, 255, 10, 13, 128]), init);
    }"""

    reply = common.invoke(common.deployed(code), status)

    assert (reply.status_code, reply.content) == (status, b"\x00\xff\n\r\x80")
    assert reply.headers["content-type"] == "image/x-own; q=1"


def test_passthrough_of_204_has_no_body(common: SharedKapso) -> None:
    """Item 48."""
    reply = common.invoke(common.deployed(give("null", status=204)), {})

    assert (reply.status_code, reply.content) == (204, b"")
    assert reply.headers["x-invocation-id"]


def test_passthrough_keeps_headers_and_repeated_cookies(common: SharedKapso) -> None:
    """Item 48."""
    code = """async function handler() {
      const headers = new Headers({ "x-own": "a, b", location: "/there" });
      headers.append("set-cookie", "a=1");
      headers.append("set-cookie", "b=2");
      return new Response("", { status: 302, headers });
    }"""

    reply = common.invoke(common.deployed(code), {})

    assert (reply.status_code, reply.headers["x-own"], reply.headers["location"]) == (302, "a, b", "/there")
    assert reply.headers.get_list("set-cookie") == ["a=1", "b=2"]


def test_passthrough_of_plain_text(common: SharedKapso) -> None:
    """Item 49."""
    reply = common.invoke(common.deployed(give('"accepted"', headers={"content-type": "text/plain"})), {})

    assert (reply.text, reply.headers["content-type"]) == ("accepted", "text/plain")


@pytest.mark.parametrize("value", [[1, "two", None], "text", 7, 1.5, True, False, None, {}])
def test_passthrough_of_every_kind_of_json(common_platform: SharedKapso, value: object) -> None:
    """Item 50."""
    reply = common_platform.invoke(common_platform.deployed(ECHO_JSON), content=json.dumps(value))

    assert (reply.json(), reply.headers["content-type"]) == (value, "application/json")


@pytest.mark.parametrize("status", [400, 401, 404, 422, 429, 500, 502, 503])
def test_a_functions_own_error_is_passed_on_and_recorded(common: SharedKapso, status: int) -> None:
    """The design's section 7."""
    code = "async (request) => Response.json({ mine: true }, { status: await request.json() });"
    function_id = common.deployed(f"export default {code}")

    reply = common.invoke(function_id, status)

    assert (reply.status_code, reply.json()) == (status, {"mine": True})
    found = {item["id"]: item for item in common.invocations(function_id)}
    item = found[reply.headers["x-invocation-id"]]
    assert (item["status_code"], item["error_message"]) == (status, None)


def test_wrapped_puts_json_under_data(common_older: SharedKapso) -> None:
    """Item 51."""
    function_id = common_older.deployed(ECHO_JSON, invoke_response_mode="wrapped")

    for value in ({"a": [1]}, [1, 2], "text", 0, True):
        for base in ("/platform/v1", "/api/v1"):
            reply = Kapso(common_older.client, base).invoke(function_id, value)
            assert (reply.status_code, reply.json()) == (200, {"data": value})
            assert reply.headers["content-type"] == "application/json"
            assert reply.headers["x-invocation-id"]


CALLED = {
    "application/json": ("not json", "not json"),
    "application/jsonlines": ("1 2", "1 2"),
    "Application/JSON": ("[1]", [1]),
    "application/json; q=1": ("", None),
    None: ("[1]", "[1]"),
}


@pytest.mark.parametrize("called", CALLED)
def test_wrapped_is_json_whatever_the_function_calls_its_reply(common_older: SharedKapso, called: str | None) -> None:
    """Item 51."""
    code = """async function handler(request) {
      const { type, text } = await request.json();
      return new Response(text, type ? { headers: { "content-type": type } } : {});
    }"""
    text, data = CALLED[called]
    function_id = common_older.deployed(code, invoke_response_mode="wrapped")

    reply = common_older.invoke(function_id, {"type": called, "text": text})

    assert (reply.status_code, reply.json()) == (200, {"data": data})


def test_wrapped_is_the_same_for_a_large_reply(common_older: SharedKapso) -> None:
    code = """async function handler(request) {
      const { type, text, times, end } = await request.json();
      return new Response(text.repeat(times) + end, { headers: { "content-type": type } });
    }"""
    function_id = common_older.deployed(code, invoke_response_mode="wrapped")

    for kind, text, end, is_json in (
        ("application/json", " ", '{"a":"ä"}', True),
        ("application/json", " ", '{"a":', False),
        ("text/plain", 'ä"\n', "\u0000", False),
    ):
        reply = common_older.invoke(function_id, {"type": kind, "text": text, "times": 400_000, "end": end})
        whole = text * 400_000 + end
        assert reply.status_code == 200
        assert reply.json() == {"data": json.loads(whole) if is_json else whole}
        assert reply.headers["content-type"] == "application/json"
        assert reply.headers["x-invocation-id"]


def test_wrapped_leaves_a_functions_own_error_alone(common_older: SharedKapso) -> None:
    """Item 51: successful results only."""
    code = give('"no"', status=409, headers={"content-type": "text/plain"})
    function_id = common_older.deployed(code, invoke_response_mode="wrapped")

    reply = common_older.invoke(function_id, {})

    assert (reply.status_code, reply.text) == (409, "no")


def test_a_throw_is_500_with_its_text_and_id(common: SharedKapso) -> None:
    """Items 52, 53, 54."""
    function_id = common.deployed("async function handler() { return x; }", f"Throws on {common.base}")

    reply = common.invoke(function_id, {})

    (item,) = common.invocations(function_id)
    assert reply.status_code == 500
    assert reply.json() == {
        "error": "Function execution failed",
        "detail": "ReferenceError: x is not defined",
        "invocation_id": item["id"],
    }
    assert reply.headers["x-invocation-id"] == item["id"]
    assert (item["status_code"], item["error_message"]) == (500, "ReferenceError: x is not defined")


THROWN = {
    'new Error("it broke")': "Error: it broke",
    '"a text"': "a text",
    "null": "null",
    "undefined": "undefined",
    "{ toString() { throw 1; } }": "cannot be shown",
    "Object.create(null)": "{}",
    'Object.assign(new Error("x"), { stack: 7 })': "Error: x",
    '{ toString: () => "odd", get stack() { throw 1; } }': "odd",
}


@pytest.mark.parametrize("thrown", THROWN)
def test_whatever_is_thrown_is_told(common_platform: SharedKapso, thrown: str) -> None:
    """Items 52, 53."""
    function_id = common_platform.deployed(choose(*(f"throw {value};" for value in THROWN)))

    reply = common_platform.invoke(function_id, list(THROWN).index(thrown))

    assert (reply.status_code, reply.json()["error"]) == (500, "Function execution failed")
    assert THROWN[thrown] in reply.json()["detail"]


NO_RESPONSES = ["undefined", "null", '"text"', "{ status: 200 }", "42", "Response"]


@pytest.mark.parametrize("given", NO_RESPONSES)
def test_no_response_is_a_failed_call(common_platform: SharedKapso, given: str) -> None:
    """Item 55."""
    function_id = common_platform.deployed(choose(*(f"return {value};" for value in NO_RESPONSES)))

    reply = common_platform.invoke(function_id, NO_RESPONSES.index(given))

    assert (reply.status_code, reply.json()["error"]) == (500, "Function execution failed")
    assert "must return a Response" in reply.json()["detail"]
    failed = common_platform.invocations(function_id, status="failed")
    assert reply.json()["invocation_id"] in [item["id"] for item in failed]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('const reply = new Response("x"); await reply.text(); return reply;', "whose body was read before"),
        ("return Response.error();", "`Response.error()`"),
        ("globalThis.Response = class Mine {}; return new Response();", "an object of Mine"),
    ],
)
def test_a_response_that_cannot_be_sent_is_told(common_platform: SharedKapso, body: str, reason: str) -> None:
    """Item 55."""
    reply = common_platform.invoke(common_platform.deployed(f"async function handler() {{ {body} }}"), {})

    assert (reply.status_code, reply.json()["error"]) == (500, "Function execution failed")
    assert reason in reply.json()["detail"]


def test_a_promise_that_never_settles_is_a_failed_call(common_platform: SharedKapso) -> None:
    """Item 55, and the design's section 2."""
    reply = common_platform.invoke(common_platform.deployed("function handler() { return new Promise(() => {}); }"), {})

    assert (reply.status_code, reply.json()["error"]) == (500, "Function execution failed")
    assert "never" in reply.json()["detail"]


def test_a_call_over_its_time_is_500_and_says_so(common: SharedKapso) -> None:
    """The design's section 7."""
    code = "async function handler() { await scheduler.wait(20_000); return new Response(); }"
    function_id = common.deployed(code, f"Slow on {common.base}", runtime_config={"timeout": 0.2})

    reply = common.invoke(function_id, {})

    assert (reply.status_code, reply.json()["error"]) == (500, "Function execution failed")
    assert reply.json()["detail"] == "Function execution timeout (200ms)"
    (item,) = common.invocations(function_id)
    assert item["id"] == reply.headers["x-invocation-id"] == reply.json()["invocation_id"]
    assert 190 <= item["duration_ms"] < 2_000


def test_the_callers_headers_reach_the_function(common: SharedKapso) -> None:
    """Item 56."""
    headers = {
        "X-Webhook-Signature": "sha256=abc",
        "X-Webhook-Event": "whatsapp.message.received",
        "Authorization": "Bearer an-end-users-token",
        "User-Agent": "tests/1",
        "Content-Type": "application/json; charset=utf-8",
        "Cookie": "a=1",
    }

    seen = seen_headers(common.invoke(common.deployed(SHOW), {}, headers=headers))

    assert {name: seen.get(name.lower()) for name in headers} == headers


def test_a_function_sees_the_address_of_its_call(common: SharedKapso, server_url: str) -> None:
    function_id = common.deployed(SHOW)

    seen = common.client.post(f"{common.base}/functions/{function_id}/invoke?a=1&b=%C3%A4&a=2", json={}).json()

    assert seen["method"] == "POST"
    assert seen["url"] == f"{server_url}{common.base}/functions/{function_id}/invoke?a=1&b=%C3%A4&a=2"


def test_the_api_key_never_reaches_the_function(common: SharedKapso) -> None:
    """Item 57, and the design's section 5."""
    function_id = common.deployed(SHOW, public_endpoint=True)
    key = common.client.headers["x-api-key"]

    for headers in ({}, {"x-api-key": key}, {"X-API-KEY": ROOT_KEY}, {"X-API-Key": "somebody-elses"}):
        reply = common.client.post(f"/platform/v1/functions/{function_id}/invoke", json={}, headers=headers)
        assert "x-api-key" not in seen_headers(reply)
        assert key not in reply.text
        assert ROOT_KEY not in reply.text


def test_our_own_headers_never_reach_the_function_nor_come_from_it(common: SharedKapso) -> None:
    """The design's section 5."""
    forged = {"x-isolet-call": '{"probe":true}', "x-isolet-proto": "https", "X-Isolet-Anything": "1"}
    seen = seen_headers(common.invoke(common.deployed(SHOW), {}, headers=forged))
    function_id = common.deployed(
        give('\'{"message":"x","stack":null}\'', status=500, headers={"x-isolet-error": "1", "x-invocation-id": "mine"})
    )

    reply = common.invoke(function_id, {})

    assert not [name for name in seen if name.startswith("x-isolet")]
    assert not [name for name in reply.headers if name.startswith("x-isolet")]
    assert str(uuid.UUID(reply.headers["x-invocation-id"])) == reply.headers["x-invocation-id"]


@pytest.mark.parametrize("whose", ["project", "root"])
def test_one_of_our_keys_as_bearer_does_not_reach_the_function(
    common_platform: SharedKapso, common_home: Project, whose: str
) -> None:
    """The design's section 5."""
    key = common_home.key("invoke") if whose == "project" else ROOT_KEY

    seen = seen_headers(
        common_platform.invoke(common_platform.deployed(SHOW), {}, headers={"Authorization": f"Bearer {key}"})
    )

    assert "authorization" not in seen


def test_every_recorded_reply_carries_its_id(common_older: SharedKapso) -> None:
    """The design's section 5."""
    bodies = ('return new Response("hello");', 'return new Response("no", { status: 404 });', "throw 1;", "return;")
    for mode in ("passthrough", "wrapped"):
        function_id = common_older.deployed(choose(*bodies), "Recorded", invoke_response_mode=mode)

        replies = [common_older.invoke(function_id, number) for number in range(len(bodies))]

        ids = [reply.headers["x-invocation-id"] for reply in replies]
        assert [item["id"] for item in common_older.invocations(function_id)] == ids[::-1]
