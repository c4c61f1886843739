"""Live connections: Butterbase's protocol, events, presence, channels, and what hostile clients get."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode

from tests.support.butterbase import Butterbase
from tests.support.projects import Project, new_project
from tests.support.realtime import Live, deploy_event, publish, set_rules, token, trust_tokens
from tests.support.server import Server
from tests.support.waiting import wait_until

WHO = """
export default async function handler(req, ctx) {
  return Response.json({ body: await req.json(), user: ctx.user, caller: ctx.caller.type,
    app: req.headers.get("x-app-id"), method: req.method, depth: ctx.caller.keyId === null });
}
"""
ODD = """
export default async function handler(req, ctx) {
  const { payload } = await req.json();
  if (payload === "throw") throw new Error("no such thing");
  if (payload === "spin") for (;;);
  if (payload === "wait") await new Promise(() => setTimeout(() => {}, 1e6));
  if (payload === "text") return new Response("plain \\u2028 text");
  if (payload === "many") return new Response("[" + "[],".repeat(70_000) + "[]]");
  if (payload === "teapot") return new Response("short and stout", { status: 418 });
  if (payload === "bytes") return new Response(new Uint8Array([0, 255, 254]));
  if (payload === "refuse") return Response.json({ error: "not you" }, { status: 403 });
  return new Response(null, { status: 204 });
}
"""
SLOW = """
export default async function handler(req) {
  const { payload } = await req.json();
  await new Promise((resolve) => setTimeout(resolve, payload === 0 ? 1000 : 0));
  return Response.json(payload);
}
"""
SHOUT = """
export default async function handler(req, ctx) {
  const { payload } = await req.json();
  try {
    return Response.json(await ctx.realtime.publish(payload.channel, payload.event, payload.data));
  } catch (error) {
    return Response.json({ caught: error.message });
  }
}
"""
DOORMAN = """
export default async function handler(req) {
  const { channel, user, client_id } = await req.json();
  if (channel === "boom") throw new Error("oh");
  const allowed = channel === `user:${user?.id}` && typeof client_id === "string";
  return new Response(null, { status: allowed ? 204 : 403 });
}
"""


@pytest.fixture(scope="module")
def app(server: Server, root: httpx.Client) -> Iterator[Butterbase]:
    with new_project(server, root) as project, server.client("") as public:
        butterbase = Butterbase(project.client, public)
        trust_tokens(project.client, project.slug)
        deploy_event(butterbase, "who", WHO)
        deploy_event(butterbase, "odd", ODD, limits={"timeout_ms": 1500})
        deploy_event(butterbase, "slow", SLOW)
        deploy_event(butterbase, "shout", SHOUT)
        deploy_event(butterbase, "doorman", DOORMAN)
        found = butterbase.get("odd")
        changed = project.client.patch(f"/isolet/v1/functions/{found['id']}", json={"timeout_ms": 1500})
        assert changed.status_code == 200, changed.text
        yield butterbase


def live(app: Butterbase, **options: Any) -> Live:
    return Live(str(app.public.base_url), app.app, **options)


# The greeting, and who connects.


def test_a_client_is_greeted_by_its_role(app: Butterbase) -> None:
    with live(app) as nobody, live(app, token=token()) as user, live(app, token=app.key) as key:
        assert nobody.greeting == {"type": "connected", "app_id": app.app, "role": "butterbase_anon"}
        assert (user.greeting["role"], key.greeting["role"]) == ("butterbase_user", "butterbase_service")
    with Live(str(app.public.base_url), app.project_id) as by_id:
        assert by_id.greeting["app_id"] == app.project_id


def test_a_token_may_end_as_late_as_numbers_go(app: Butterbase) -> None:
    with live(app, token=token(exp=1e308)) as connection:
        assert connection.greeting["role"] == "butterbase_user"
        assert connection.ask(type="auth", token=token(exp=10**300))["type"] == "authenticated"


def test_a_token_may_be_in_the_header_or_a_subprotocol(app: Butterbase) -> None:
    given = {"Authorization": f"Bearer {token()}"}
    with live(app, additional_headers=given) as one, live(app, subprotocols=["isolet", f"token.{token()}"]) as other:
        assert one.greeting["role"] == other.greeting["role"] == "butterbase_user"
        assert other.socket.subprotocol == "isolet"


@pytest.mark.parametrize("bad", ["expired", "foreign", "garbage", "other-key", "dots", "none-algorithm", "long"])
def test_a_bad_token_is_told_and_closed(app: Butterbase, server: Server, root: httpx.Client, bad: str) -> None:
    with ExitStack() as stack:
        text = {
            "expired": lambda: token(exp=int(time.time()) - 100),
            "foreign": lambda: token() + "x",
            "garbage": lambda: "%00%ff%22",
            "other-key": lambda: stack.enter_context(new_project(server, root)).key(),
            "dots": lambda: "a.b.c",
            "none-algorithm": lambda: "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4IiwiZXhwIjo5OTk5OTk5OTk5fQ.",
            "long": lambda: "x." * 4000,
        }[bad]()
        with live(app, token=text, greeted=False) as refused:
            came, code, reason = refused.until_closed()
    assert came == [{"type": "error", "message": "Authentication failed"}]
    assert (code, reason) == (1008, "Auth failed")


def test_an_unknown_app_is_404_and_a_plain_request_is_told_to_upgrade(app: Butterbase) -> None:
    with pytest.raises(InvalidStatus) as refused:
        Live(str(app.public.base_url), "nobody-has-this")
    assert refused.value.response.status_code == 404
    assert json.loads(refused.value.response.body or b"")["error"]["code"] == "RESOURCE_NOT_FOUND"
    assert app.public.get(f"/v1/{app.app}/realtime").status_code == 426


def test_a_deleted_key_ends_its_connections(app: Butterbase) -> None:
    made = app.client.post(f"/isolet/v1/projects/{app.app}/keys", json={"name": "k", "role": "invoke"}).json()
    with live(app, token=made["key"]) as connection:
        assert app.client.delete(f"/isolet/v1/projects/{app.app}/keys/{made['id']}").status_code == 204
        assert connection.until_closed() == ([], 1008, "Auth failed")


# Events.


def test_an_event_calls_its_function_with_the_user(app: Butterbase) -> None:
    with live(app, token=token(plan="VIP ☃")) as connection:
        answer = connection.ask(
            type="event", event="who", payload={"text": "hi \x00 \u2028 ☃ \ud83d\ude00", "n": [1]}, id="a1"
        )
        assert answer.keys() == {"type", "event", "id", "data"}
        assert (answer["type"], answer["event"], answer["id"]) == ("event_response", "who", "a1")
        seen = answer["data"]
        assert seen["body"] == {"event": "who", "payload": {"text": "hi \x00 \u2028 ☃ 😀", "n": [1]}}
        assert (seen["user"]["id"], seen["user"]["claims"]["plan"]) == ("u-1", "VIP ☃")
        assert (seen["caller"], seen["app"], seen["method"]) == ("end_user_jwt", app.app, "POST")
    with live(app) as nobody, live(app, token=app.key) as key:
        told = nobody.ask(type="event", event="who")
        assert (told["data"]["body"], told["data"]["user"]) == ({"event": "who"}, None)
        assert "id" not in told
        assert key.ask(type="event", event="who")["data"]["caller"] == "service_key"
    records = app.client.get(f"/isolet/v1/invocations?function_id={app.get('who')['id']}").json()["data"]
    assert {one["kind"] for one in records} == {"websocket"}


@pytest.mark.parametrize(
    ("payload", "data"),
    [
        ("throw", {"error": "no such thing", "stack": None}),
        ("text", "plain \u2028 text"),
        ("teapot", {"error": "short and stout", "status": 418}),
        ("bytes", "\x00\ufffd\ufffd"),
        ("refuse", {"error": "not you"}),
        ("many", {"error": "The function's reply has more than 65536 values", "status": 500}),
        ("nothing", None),
    ],
)
def test_what_a_function_answers_comes_back(app: Butterbase, payload: str, data: Any) -> None:
    with live(app) as connection:
        assert connection.ask(type="event", event="odd", payload=payload, id=7) == {
            "type": "event_response",
            "event": "odd",
            "data": data,
            "id": 7,
        }


@pytest.mark.parametrize("payload", ["wait", "spin"])
def test_a_function_that_is_stopped_answers_with_an_error(app: Butterbase, payload: str) -> None:
    with live(app) as connection:
        answer = connection.ask(type="event", event="odd", payload=payload)
        assert answer["type"] == "event_response"
        assert answer["data"]["error"] in ("function_timeout", "function_crashed")
        # The next instance may take longer to start than the function has, on a machine with other work.
        wait_until(lambda: connection.ask(type="event", event="odd")["data"] is None)


def test_events_run_in_order_and_one_too_many_is_busy(app: Butterbase) -> None:
    # One of them is so large that it is read beside the loop.
    payloads = [*range(7), "x" * 100_000, *range(8, 34)]
    with live(app) as connection:
        for number, payload in enumerate(payloads):
            connection.say(type="event", event="slow", payload=payload, id=number)
        came = [connection.next() for _ in payloads]
    busy = [frame for frame in came if frame["type"] == "error"]
    assert busy == [{"type": "error", "message": "busy", "id": 33}]
    assert [frame["data"] for frame in came if frame["type"] == "event_response"] == payloads[:33]


@pytest.mark.parametrize(
    ("frame", "message", "id_"),
    [
        ("{", "Invalid JSON", None),
        ("", "Invalid JSON", None),
        ('{"type":"event","event":"who","payload":NaN}', "Invalid JSON", None),
        ('{"type":"event","event":"who","payload":1e999}', "Invalid JSON", None),
        ("[" * 60_000, "Invalid JSON", None),
        ("[]", "Unknown message type: undefined", None),
        ("null", "Unknown message type: undefined", None),
        ("{}", "Unknown message type: undefined", None),
        ('{"type":"shout","id":"x"}', "Unknown message type: shout", "x"),
        ('{"type":5}', "Unknown message type: 5", None),
        ('{"type":{"a":1}}', "Unknown message type: [object Object]", None),
        ('{"type":"event","id":3}', 'Missing "event" field', 3),
        ('{"type":"event","event":5}', 'Missing "event" field', None),
        ('{"type":"event","event":"ghost","id":4}', "No handler for event: ghost", 4),
        ('{"type":"event","event":"\\ud800\\u0000"}', "No handler for event: \ud800\x00", None),
        ('{"type":"subscribe"}', 'Missing "table" field', None),
        ('{"type":"subscribe","table":7}', 'Missing "table" field', None),
        ('{"type":"unsubscribe"}', 'Missing "table" field', None),
        ('{"type":"auth"}', 'Missing "token" field', None),
        ('{"type":"subscribe","channel":""}', "channel: must be a text of 1 to 200 characters", None),
        ('{"type":"subscribe","channel":"a\\nb"}', "channel: must be one line of text", None),
        ('{"type":"subscribe","channel":"\\ud800"}', "channel: must be one line of text", None),
        ('{"type":"subscribe","channel":"c","since":-1}', "since: must be the seq of a message, or 0", None),
        ('{"type":"subscribe","channel":"c","since":true}', "since: must be the seq of a message, or 0", None),
        ('{"type":"subscribe","channel":"room","id":"s"}', "Not allowed to subscribe to channel: room", "s"),
    ],
)
def test_a_frame_that_says_nothing_gets_its_error(app: Butterbase, frame: str, message: str, id_: Any) -> None:
    with live(app) as connection:
        connection.socket.send(frame)
        expected = {"type": "error", "message": message}
        assert connection.next() == (expected if id_ is None else {**expected, "id": id_})
        assert connection.ask(type="unsubscribe", table="t") == {"type": "unsubscribed", "table": "t"}


def test_a_disabled_trigger_and_a_changed_event_take_effect_at_once(app: Butterbase) -> None:
    deploy_event(app, "moved", WHO, event="first")
    with live(app) as connection:
        assert connection.ask(type="event", event="first")["type"] == "event_response"
        deploy_event(app, "moved", WHO, event="second")
        assert connection.ask(type="event", event="first")["message"] == "No handler for event: first"
        assert connection.ask(type="event", event="second")["type"] == "event_response"
        off = {"type": "websocket", "config": {"event": "second"}, "enabled": False}
        app.deploy("moved", WHO, auth=None, triggers=[{"type": "http"}, off])
        assert connection.ask(type="event", event="second")["message"] == "No handler for event: second"


# Tables, presence.


def test_a_table_is_subscribed_to_as_one_that_is_not_watched(app: Butterbase) -> None:
    with live(app) as connection:
        told = connection.ask(type="subscribe", table="todos", filter={"user_id": "1"})
        assert told == {"type": "subscribed", "table": "todos", "filter": {"user_id": "1"}}
        warning = connection.next()
        assert warning.keys() == {"type", "code", "table", "message", "remediation"}
        assert (warning["type"], warning["code"]) == ("warning", "TABLE_NOT_REALTIME_ENABLED")
        assert connection.ask(type="subscribe", table="notes") == {"type": "subscribed", "table": "notes"}


def test_those_who_track_presence_hear_of_each_other(app: Butterbase) -> None:
    with live(app, token=token(sub="ann")) as ann, live(app) as bob:
        (first,) = ann.ask(type="presence_track", metadata={"color": "red"})["clients"]
        assert first == {"client_id": first["client_id"], "user_id": "ann", "metadata": {"color": "red"}}
        state = bob.ask(type="presence_track")
        assert [one["user_id"] for one in state["clients"]] == ["ann", None]
        joined = ann.next()
        second = state["clients"][1]
        assert joined == {"type": "presence_join", **second}
        assert second["metadata"] == {}
        ann.say(type="presence_update", metadata={"color": "blue"})
        told = {"type": "presence_update", "client_id": first["client_id"], "metadata": {"color": "blue"}}
        assert bob.next() == told
        bob.socket.close()
        assert ann.next() == {"type": "presence_leave", "client_id": second["client_id"], "user_id": None}
        ann.say(type="presence_update", metadata={"text": "x" * 5000})
        assert ann.next()["message"].startswith("metadata is too large")


# Renewal.


def test_a_token_is_renewed_and_its_end_is_told(app: Butterbase) -> None:
    with live(app, token=token(exp=int(time.time()) + 3)) as connection:
        warning = connection.next()
        assert (warning["type"], warning["code"]) == ("warning", "TOKEN_EXPIRING")
        assert connection.ask(type="auth", token=token(), id=1) == {
            "type": "authenticated",
            "role": "butterbase_user",
            "id": 1,
        }
        assert "another user" in connection.ask(type="auth", token=token(sub="u-2"))["message"]
        connection.say(type="auth", token=token(exp=int(time.time()) + 2))
        assert connection.next()["type"] == "authenticated"
        came, code, _ = connection.until_closed()
        assert ([frame["code"] for frame in came], code) == (["TOKEN_EXPIRING"], 1008)
    with live(app) as connection:
        connection.say(type="auth", token=token())
        assert connection.ask(type="event", event="who")["role"] == "butterbase_user"
        assert connection.next()["data"]["user"]["id"] == "u-1"
        assert connection.ask(type="auth", token="no")["message"] == "Authentication failed"
        assert connection.until_closed() == ([], 1008, "Auth failed")


# Channels.


def test_a_message_reaches_its_subscribers_only_and_is_counted(app: Butterbase) -> None:
    with live(app, token=token()) as one, live(app, token=app.key) as two, live(app, token=token()) as other:
        assert one.ask(type="subscribe", channel="news ☃", id="s") == {
            "type": "subscribed",
            "channel": "news ☃",
            "id": "s",
        }
        two.ask(type="subscribe", channel="news ☃")
        other.ask(type="subscribe", channel="else")
        data = {"text": "a\u2028b\x00☃"}
        assert [publish(app.client, app.app, "news ☃", "said", data) for _ in range(3)] == [1, 2, 3]
        for connection in (one, two):
            assert [connection.next() for _ in range(3)] == [
                {"type": "message", "channel": "news ☃", "event": "said", "data": data, "seq": seq} for seq in (1, 2, 3)
            ]
        assert one.ask(type="unsubscribe", channel="news ☃") == {"type": "unsubscribed", "channel": "news ☃"}
        publish(app.client, app.app, "news ☃", "said")
        publish(app.client, app.app, "else", "said")
        assert two.next()["data"] is None
        assert one.ask(type="unsubscribe", table="t")["table"] == "t"
        assert other.next()["channel"] == "else"
        shown = app.client.get(f"/isolet/v1/projects/{app.app}/realtime").json()
        assert shown["connections"] >= 3
        assert {"name": "news ☃", "subscribers": 1, "seq": 4} in shown["channels"]


def test_since_gives_what_was_missed_and_says_what_is_gone(app: Butterbase) -> None:
    for number in range(110):
        publish(app.client, app.app, "log", "line", number)
    with live(app, token=token()) as connection:
        assert connection.ask(type="subscribe", channel="log", since=105)["type"] == "subscribed"
        assert [connection.next()["data"] for _ in range(5)] == [105, 106, 107, 108, 109]
        assert connection.ask(type="subscribe", channel="log", since=110)["type"] == "subscribed"
        assert connection.ask(type="subscribe", channel="log", since=0)["type"] == "subscribed"
        warning = connection.next()
        assert (warning["code"], warning["first_seq"]) == ("MESSAGES_MISSED", 11)
        assert [connection.next()["seq"] for _ in range(100)] == list(range(11, 111))
        publish(app.client, app.app, "log", "line", "new")
        assert connection.next()["seq"] == 111


def test_a_function_publishes(app: Butterbase) -> None:
    with live(app, token=token()) as connection:
        connection.ask(type="subscribe", channel="room")
        connection.say(type="event", event="shout", payload={"channel": "room", "event": "hi", "data": {"n": 1}})
        came = sorted((connection.next() for _ in range(2)), key=lambda frame: str(frame["type"]))
        assert came[0]["data"] == {"seq": 1}
        assert came[1] == {"type": "message", "channel": "room", "event": "hi", "data": {"n": 1}, "seq": 1}
        for payload, text in (
            ({"channel": "", "event": "e"}, "channel: must be"),
            ({"channel": "c"}, "event: must be"),
            ({"channel": "c", "event": "e", "data": "x" * 66_000}, "data is too large"),
            ({"channel": "c", "event": "e", "data": "x" * 120_000}, "too large"),
        ):
            answer = connection.ask(type="event", event="shout", payload=payload)
            assert text in answer["data"]["caught"]


def test_who_may_subscribe_is_a_setting(app: Butterbase) -> None:
    path = f"/isolet/v1/projects/{app.app}/realtime/settings"
    try:
        assert app.client.get(path).json()["subscribe"] == "authenticated"
        assert set_rules(app.client, app.app, subscribe="public").status_code == 200
        with live(app) as nobody:
            assert nobody.ask(type="subscribe", channel="open")["type"] == "subscribed"
        assert set_rules(app.client, app.app, subscribe="function", function="doorman").status_code == 200
        with live(app, token=token(sub="ann")) as ann, live(app) as nobody:
            assert ann.ask(type="subscribe", channel="user:ann")["type"] == "subscribed"
            for channel in ("user:bob", "boom"):
                refused = ann.ask(type="subscribe", channel=channel, id=1)
                assert refused == {
                    "type": "error",
                    "message": f"Not allowed to subscribe to channel: {channel}",
                    "id": 1,
                }
            assert nobody.ask(type="subscribe", channel="user:ann")["type"] == "error"
        assert set_rules(app.client, app.app, subscribe="function", function="nobody").status_code == 200
        with live(app, token=token()) as user:
            assert user.ask(type="subscribe", channel="user:u-1")["type"] == "error"
    finally:
        set_rules(app.client, app.app)


@pytest.mark.parametrize(
    "rules",
    [
        {"subscribe": "everyone"},
        {"subscribe": "function"},
        {"subscribe": "public", "function": "x"},
        {"max_connections": 0},
        {"max_connections": True},
        {"max_frame_bytes": 5},
        {"max_frame_bytes": 10**12},
        {"more": 1},
    ],
)
def test_settings_that_are_none_change_nothing(app: Butterbase, rules: dict[str, Any]) -> None:
    path = f"/isolet/v1/projects/{app.app}/realtime/settings"
    before = app.client.get(path).json()
    assert set_rules(app.client, app.app, **rules).status_code == 422
    assert app.client.get(path).json() == before


@pytest.mark.parametrize(
    "body",
    [
        '{"channel":"","event":"e"}',
        '{"channel":"c"}',
        '{"channel":"c","event":"a\\u0000b"}',
        '{"channel":"\\ud800","event":"e"}',
        '{"channel":"c","event":"e","data":NaN}',
        '{"channel":"c","event":"e","more":1}',
        '{"channel":"%s","event":"e"}' % ("x" * 201),
        '{"channel":"c","event":"e","data":"%s"}' % ("x" * 70_000),
        '{"channel":"c","event":"e","data":' + "[" * 100 + "]" * 100 + "}",
    ],
)
def test_what_cannot_be_published_is_refused(app: Butterbase, body: str) -> None:
    path = f"/isolet/v1/projects/{app.app}/realtime/publish"
    reply = app.client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code in (400, 422), reply.text
    assert reply.json()["error"]["message"]


# Events without a connection.


def send_event(app: Butterbase, body: dict[str, Any] | str) -> httpx.Response:
    sent = body if isinstance(body, str) else json.dumps(body)
    path = f"/isolet/v1/projects/{app.app}/realtime/events"
    return app.client.post(path, content=sent, headers={"Content-Type": "application/json"})


def test_an_event_of_the_native_api_is_that_of_a_connection(app: Butterbase) -> None:
    with live(app, token=app.key) as key:
        for frame in ({"event": "who", "payload": {"text": "\u2028</script>\ud800"}}, {"event": "who"}):
            told = send_event(app, frame)
            assert told.status_code == 200, told.text
            assert told.json()["data"] == key.ask(type="event", **frame)["data"]
    assert told.json()["data"]["caller"] == "service_key"
    found = app.client.get(f"/isolet/v1/functions/{told.json()['function_id']}").json()
    assert (found["name"], found["socket_event"]) == ("who", "who")
    path = f"/isolet/v1/invocations/{told.json()['invocation_id']}"
    wait_until(lambda: app.client.get(path).json().get("kind") == "websocket", what="its record is there")


@pytest.mark.parametrize(
    ("payload", "data"),
    [
        ("text", "plain \u2028 text"),
        (None, None),
        ("refuse", {"error": "not you"}),
        ("teapot", {"error": "short and stout", "status": 418}),
    ],
)
def test_an_event_of_the_native_api_is_answered_whatever_comes(app: Butterbase, payload: Any, data: Any) -> None:
    assert send_event(app, {"event": "odd", "payload": payload}).json()["data"] == data


def test_an_event_that_throws_has_its_record(app: Butterbase) -> None:
    told = send_event(app, {"event": "odd", "payload": "throw"}).json()
    assert "no such thing" in told["data"]["error"]
    assert told["invocation_id"]


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "[]",
        "{}",
        '{"event":1}',
        '{"event":""}',
        '{"event":"nobody\\n\\u0000\\ud800"}',
        '{"event":"%s"}' % ("x" * 100_000),
        '{"event":"who","payload":NaN}',
        '{"event":"who","more":1}',
        '{"event":"who","payload":"%s"}' % ("x" * 70_000),
        '{"event":"who","payload":' + "[" * 100 + "]" * 100 + "}",
    ],
)
def test_an_event_that_cannot_be_sent_is_refused(app: Butterbase, body: str) -> None:
    reply = send_event(app, body)
    assert reply.status_code in (400, 404, 422), reply.text
    assert 0 < len(reply.json()["error"]["message"]) < 1_000


# Butterbase's routes around it.


def test_the_routes_for_tables_say_that_there_are_none(app: Butterbase) -> None:
    base = f"/v1/{app.app}/realtime"
    refused = app.client.post(f"{base}/configure", json={"tables": ["todos"]})
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "VALIDATION_TABLE_NOT_FOUND")
    missing = app.client.post(f"{base}/configure", json={"tables": []})
    assert (missing.status_code, missing.json()["error"]["code"]) == (400, "VALIDATION_MISSING_FIELD")
    shown = app.client.get(f"{base}/config").json()
    assert (shown["app_id"], shown["tables"]) == (app.app, [])
    assert shown["websocket_url"].startswith("ws://")
    assert shown["websocket_url"].endswith(base)
    gone = app.client.delete(f"{base}/todos")
    assert gone.json() == {"table": "todos", "status": "disabled"}


# Hostile clients.


def test_hostile_frames_close_their_connection_and_nobody_elses(app: Butterbase) -> None:
    with live(app) as bystander:
        for frames, code in (
            ([Frame(Opcode.BINARY, b"x")], 1003),
            ([Frame(Opcode.TEXT, b"\xff\xfe")], 1007),
            ([Frame(Opcode.CONT, b"x")], 1002),
            ([Frame(Opcode.TEXT, b"x", fin=False), Frame(Opcode.TEXT, b"y")], 1002),
            ([Frame(Opcode.TEXT, b"x" * 200_000)], 1009),
            ([Frame(Opcode.TEXT, b"x" * 100_000, fin=False), Frame(Opcode.CONT, b"x" * 100_000)], 1009),
            ([Frame(Opcode.TEXT, b"{}", fin=False)] * 1 + [Frame(Opcode.CONT, b"", fin=False)] * 3000, 1008),
            ([Frame(Opcode.TEXT, b"{}")] * 3000, 1008),
            ([Frame(Opcode.PING, b"")] * 3000, 1008),
        ):
            assert _closed_by(app, b"".join(frame.serialize(mask=True) for frame in frames)) == code, frames[0]
        for broken in (b"\xc1\x81\0\0\0\0x", b"\x83\x80\0\0\0\0", b"\x81\x01x", b"\x89\xfe\x00\xff" + bytes(300)):
            assert _closed_by(app, broken) == 1002, broken
        assert bystander.ask(type="event", event="who")["type"] == "event_response"


def _closed_by(app: Butterbase, sent: bytes) -> int:
    """The code of the close that a client gets which sends this."""
    with _raw(app) as connection:
        connection.sendall(sent)
        came = b""
        while chunk := connection.recv(65_536):
            came += chunk
    while came:
        length, head = came[1] & 0x7F, 2
        if length == 126:
            length, head = int.from_bytes(came[2:4], "big"), 4
        if came[0] & 0x0F == Opcode.CLOSE:
            return int.from_bytes(came[head : head + 2], "big")
        came = came[head + length :]
    return 0


def _raw(app: Butterbase) -> socket.socket:
    """A connection after its handshake, for which the kernel keeps little."""
    parts = urlsplit(str(app.public.base_url))
    connection = socket.socket()
    connection.settimeout(120)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    connection.connect((parts.hostname, parts.port))
    connection.sendall(
        f"GET /v1/{app.app}/realtime HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    assert head.startswith(b"HTTP/1.1 101 "), head
    return connection


def test_a_project_has_its_own_bounds(app: Butterbase, home: Project) -> None:
    rules = {"max_connections": 2, "max_frame_bytes": 1024}
    assert set_rules(home.client, home.slug, **rules).json() == {
        "subscribe": "authenticated",
        "function": None,
        **rules,
    }
    url = str(app.public.base_url)
    with Live(url, home.slug) as one, Live(url, home.slug):
        with Live(url, home.slug, greeted=False) as third:
            came, code, reason = third.until_closed()
        assert came == [{"type": "error", "message": "Connection limit reached"}]
        assert (code, reason) == (1013, "Connection limit reached")
        one.say(type="event", event="x" * 2000)
        assert one.until_closed()[1] == 1009
    wait_until(
        lambda: home.client.get(f"/isolet/v1/projects/{home.slug}/realtime").json()["connections"] == 0,
        what="the room of those who left",
    )
    with Live(url, home.slug) as again:
        assert again.greeting["type"] == "connected"


def test_a_client_that_does_not_read_is_dropped(app: Butterbase) -> None:
    set_rules(app.client, app.app, subscribe="public")
    try:
        with _raw(app) as lazy, live(app) as other:
            lazy.sendall(Frame(Opcode.TEXT, b'{"type":"subscribe","channel":"flood"}').serialize(mask=True))
            other.ask(type="subscribe", channel="flood")
            before = app.client.get(f"/isolet/v1/projects/{app.app}/realtime").json()["connections"]
            text, count = "x" * 60_000, 0

            def is_dropped() -> bool:
                nonlocal count
                count = publish(app.client, app.app, "flood", "x", text)
                assert other.next()["seq"] == count
                shown = app.client.get(f"/isolet/v1/projects/{app.app}/realtime").json()
                return bool(shown["connections"] < before)

            wait_until(is_dropped, what="the end of the connection that does not read", timeout_s=120)
    finally:
        set_rules(app.client, app.app)
