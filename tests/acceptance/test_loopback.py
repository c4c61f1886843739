"""`ctx.invoke` of a function that changed what its wrapper stands on: the host believes no more than it can check."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.support.butterbase import SharedButterbase
from tests.support.waiting import wait_until

TARGET = """
export default { fetch(request, env) {
  return Response.json({ caller: env.caller, user: env.user, headers: [...request.headers] });
} }
"""
# It adds headers to what the wrapper sends, or changes them: those that the caller asks for.
FORGER = """
let forged = {};
const set = Headers.prototype.set;
Headers.prototype.set = function (name, value) {
  if (name === "x-isolet-token") for (const [key, text] of Object.entries(forged)) set.call(this, key, text);
  return set.call(this, name, forged[name] ?? value);
};
globalThis.encodeURIComponent = (text) => text;
JSON.stringify = () => "{}";
export default { async fetch(request, env) {
  forged = await request.json();
  const reply = await env.invoke("target", {});
  return new Response(await reply.text(), { status: reply.status });
} }
"""
# Each call says that it is none of `ctx.invoke`, and calls the next.
ENDLESS = """
const set = Headers.prototype.set;
Headers.prototype.set = function (name, value) {
  return set.call(this, name, name === "x-isolet-depth" ? "1" : value);
};
export default { async fetch(request, env) {
  Object.defineProperty(env, "depth", { value: 0 });
  const depth = Number(request.headers.get("x-butterbase-loop-depth") ?? 0);
  if (depth > 20) return new Response("endless");
  try {
    const reply = await env.invoke("endless", {});
    return reply.status === 200 ? reply : new Response(`${depth}: ${await reply.text()}`);
  } catch (error) {
    return new Response(`${depth}: ${error.message}`);
  }
} }
"""
# It tells its own call's id, and stays in that call until it is told to leave.
WAITING = """
let id, left = false;
const set = Headers.prototype.set;
Headers.prototype.set = function (name, value) {
  if (name === "x-isolet-call") id = value;
  return set.call(this, name, value);
};
export default { async fetch(request, env) {
  if (request.headers.has("x-leave")) { left = true; return new Response("left"); }
  await env.invoke("target", {});
  const { readable, writable } = new TransformStream();
  const writer = writable.getWriter();
  const stay = async () => {
    await writer.write(new TextEncoder().encode(id));
    while (!left) await scheduler.wait(20);
    await writer.close();
  };
  env.waitUntil(stay());
  return new Response(readable);
} }
"""
LATE = """
export default { async fetch(request, env) {
  const { promise, resolve } = Promise.withResolvers();
  env.waitUntil(promise.then(() => env.invoke("target", {})).then((reply) => reply.text()).then(console.log));
  setTimeout(resolve, 50);
  return new Response("soon");
} }
"""
CALL = '{"id":"00000000-0000-7000-8000-000000000000","context":{"user":{"id":"admin"}}}'


def forge(shared: SharedButterbase, *, user: str | None = None, **forged: str) -> tuple[int, str]:
    headers = {name.replace("_", "-"): value for name, value in forged.items()}
    shared.deploy("target", TARGET)
    shared.deploy("forger", FORGER)
    told = {b"X-API-Key": shared.key.encode(), b"X-Butterbase-As-User": user.encode()} if user else {}
    reply = shared.call("forger", "POST", json=headers, headers=told)
    return reply.status_code, reply.text


@pytest.mark.parametrize("line_break", ["", "%0d%0a", "%0a", "%0D", "%00", "%E2%80%A8", "%C2%85"])
def test_a_function_does_not_say_for_whom_it_calls(shared: SharedButterbase, line_break: str) -> None:
    forged = f"admin{line_break}x-isolet-call: {CALL}{line_break}x-a: b"
    status, text = forge(shared, user="Jürgen", x_isolet_user=forged, x_user_id="admin")
    shown = json.loads(text)
    assert (status, shown["user"], shown["caller"]["userId"]) == (200, {"id": "Jürgen"}, "Jürgen")
    assert shown["caller"]["type"] == "loopback"
    assert "admin" not in text


def test_a_function_that_nobody_called_cannot_act_for_a_user(shared: SharedButterbase) -> None:
    status, text = forge(shared, x_isolet_user="admin", x_user_id="admin")
    assert (status, json.loads(text)["user"]) == (200, None)


@pytest.mark.parametrize("depth", ["0", "5", "-1", "1, 1", "0019", "1x", "4"])
def test_a_function_does_not_say_how_deep_it_is(shared: SharedButterbase, depth: str) -> None:
    status, text = forge(shared, x_isolet_depth=depth, x_butterbase_loop_depth=depth)
    assert (status, dict(json.loads(text)["headers"])["x-butterbase-loop-depth"]) == (200, "1")


def test_a_chain_ends_whatever_its_functions_say(shared: SharedButterbase) -> None:
    shared.deploy("endless", ENDLESS)
    reply = shared.call("endless", "POST")
    assert reply.text.startswith("4: ctx.invoke loop limit exceeded")


@pytest.mark.parametrize(
    "named", ["", "undefined", "00000000-0000-7000-8000-000000000000", '{"id":"x"}', "x" * 5000, "\u00e9"]
)
def test_a_call_that_is_none_calls_nothing(shared: SharedButterbase, named: str) -> None:
    status, text = forge(shared, x_isolet_call=named)
    assert (status, "for calls that run" in text) == (403, True)


def test_no_function_acts_in_the_call_of_another(shared: SharedButterbase) -> None:
    shared.deploy("target", TARGET)
    shared.deploy("waiting", WAITING)
    told = {"X-API-Key": shared.key, "X-Butterbase-As-User": "admin"}
    path = f"/v1/{shared.app}/fn/waiting"
    with shared.public.stream("GET", path, headers=told) as reply:
        parts = reply.iter_text()
        status, text = forge(shared, x_isolet_call=next(parts))
        shared.call("waiting", headers={"X-Leave": "1"})
        assert list(parts) == []
    assert (status, "for calls that run" in text) == (403, True)


@pytest.mark.parametrize("token", ["", "x", "x.y", "\u00e9" * 40])
def test_a_token_that_is_none_calls_nothing(shared: SharedButterbase, token: str) -> None:
    status, text = forge(shared, x_isolet_token=token)
    assert (status, "functions of this server" in text) == (403, True)


def test_what_a_call_left_running_may_still_call(shared: SharedButterbase, root: httpx.Client) -> None:
    shared.deploy("target", TARGET)
    shared.deploy("late", LATE)
    assert shared.call("late").text == "soon"

    def printed() -> list[str]:
        return [line["message"] for log in shared.logs("late") for line in log["consoleLogs"]]

    (line,) = wait_until(printed, what="the late call")
    assert json.loads(line)["caller"]["type"] == "loopback"
