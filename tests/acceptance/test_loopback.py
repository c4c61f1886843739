"""`ctx.invoke` of a function that changed what its wrapper stands on: the host believes no more than it can check."""

from __future__ import annotations

import json

import pytest

from tests.support.butterbase import Butterbase

TARGET = """
export default { fetch(request, env) {
  return Response.json({ caller: env.caller, user: env.user, headers: [...request.headers] });
} }
"""
# It adds a header of the wrapper's own to what the wrapper sends, or changes one.
FORGER = """
const set = Headers.prototype.set;
Headers.prototype.set = function (name, value) {
  const forged = __FORGED__;
  if (name === "x-isolet-token") for (const [key, text] of Object.entries(forged)) set.call(this, key, text);
  return set.call(this, name, forged[name] ?? value);
};
globalThis.encodeURIComponent = (text) => text;
export default { async fetch(request, env) {
  const reply = await env.invoke("target", {});
  return new Response(await reply.text(), { status: reply.status });
} }
"""
CALL = '{"id":"00000000-0000-7000-8000-000000000000","context":{"user":{"id":"admin"}}}'


def forge(butterbase: Butterbase, **forged: str) -> tuple[int, str]:
    headers = {name.replace("_", "-"): value for name, value in forged.items()}
    butterbase.deploy("target", TARGET)
    butterbase.deploy("forger", FORGER.replace("__FORGED__", json.dumps(headers)))
    reply = butterbase.call("forger", "POST")
    return reply.status_code, reply.text


@pytest.mark.parametrize("line_break", ["%0d%0a", "%0a", "%0D", "%00", "%E2%80%A8", "%C2%85"])
def test_a_user_with_a_line_break_is_refused(butterbase: Butterbase, line_break: str) -> None:
    status, text = forge(butterbase, x_isolet_user=f"u{line_break}x-isolet-call: {CALL}{line_break}x-a: b")
    assert (status, "names no user" in text) == (403, True)


@pytest.mark.parametrize("depth", ["0", "5", "-1", "1, 1", "0019", "00", "1x", "10000000000"])
def test_a_depth_that_is_none_is_refused(butterbase: Butterbase, depth: str) -> None:
    status, text = forge(butterbase, x_isolet_depth=depth)
    assert (status, "loop limit" in text) == (403, True)


def test_what_a_user_is_called_reaches_the_other_function(butterbase: Butterbase) -> None:
    status, text = forge(butterbase, x_isolet_user="J%C3%BCrgen%20%E6%97%A5")
    assert status == 200
    assert json.loads(text)["user"] == {"id": "Jürgen 日"}
    assert json.loads(text)["caller"]["type"] == "loopback"
