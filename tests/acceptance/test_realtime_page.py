"""Two pages in a real browser chat, and lose nothing over a restart of the server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.browser import Browser, Page
from tests.support.butterbase import Butterbase
from tests.support.realtime import deploy_event, publish, token, trust_tokens
from tests.support.server import Server

SAY = """
export default async function handler(req, ctx) {
  const { payload } = await req.json();
  return Response.json(await ctx.realtime.publish("room", "said", `${ctx.user.id}: ${payload}`));
}
"""
# As a page would: the last number that it has, and a new connection when one ends.
CHAT = """
globalThis.seen = []; globalThis.closes = []; globalThis.last = 0;
globalThis.join = (url, token) => {
  const socket = globalThis.socket = new WebSocket(url, ["isolet", "token." + token]);
  socket.onopen = () => socket.send(JSON.stringify({ type: "subscribe", channel: "room", since: last }));
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    if (frame.type === "subscribed") globalThis.joined = true;
    if (frame.type !== "message") return;
    seen.push(frame.data);
    last = frame.seq;
  };
  socket.onclose = ({ code }) => { joined = false; closes.push(code); setTimeout(() => join(url, token), 50); };
};
globalThis.say = (text) => socket.send(JSON.stringify({ type: "event", event: "say", payload: text }));
globalThis.joined = false;
"""


def chat(page: Page, url: str, project: str, user: str) -> None:
    page.run(f"{CHAT} join({json.dumps(f'{url}/v1/{project}/realtime')}, {json.dumps(token(sub=user))}); true")
    page.wait_for("joined", f"{user} subscribed")


def seen(page: Page, count: int) -> Any:
    page.wait_for(f"seen.length >= {count}", f"{count} messages")
    return page.run("seen")


def test_pages_chat_and_lose_nothing_over_a_restart(tmp_path: Path, browser: Browser) -> None:
    said = ["ann: hello", "bob: héllo ☃"]
    with browser.page() as ann, browser.page() as bob:
        with Server(tmp_path / "data") as server, server.client() as root:
            url, port = server.url.replace("http", "ws", 1), urlsplit(server.url).port
            made = root.post("/isolet/v1/projects", json={"slug": "chat"})
            assert made.status_code == 201, made.text
            made = root.post("/isolet/v1/projects/chat/keys", json={"name": "k", "role": "admin"})
            key = made.json()["key"]
            with server.client(key) as client, server.client("") as public:
                trust_tokens(client, "chat")
                deploy_event(Butterbase(client, public), "say", SAY)
            chat(ann, url, "chat", "ann")
            chat(bob, url, "chat", "bob")
            ann.run("say('hello')")
            assert seen(bob, 1) == said[:1]
            bob.run("say('héllo ☃')")
            assert seen(ann, 2) == said
        for page in (ann, bob):
            page.wait_for("closes.length > 0", "the server said that it stops")
            assert page.run("closes[0]") == 1001
        with Server(tmp_path / "data", "--port", str(port)) as server, server.client() as root:
            publish(root, "chat", "room", "said", "news")
            for page in (ann, bob):
                page.wait_for("joined", "subscribed again")
            ann.run("say('back')")
            said += ["news", "ann: back"]
            assert (seen(ann, 4), seen(bob, 4)) == (said, said)
            publish(root, "chat", "room", "said", "last")
            assert (seen(ann, 5), seen(bob, 5)) == ([*said, "last"], [*said, "last"])
